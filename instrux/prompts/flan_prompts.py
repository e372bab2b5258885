"""A FLAN dataset's prompts as plain data: a reference to look up, and what it resolves to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from instrux.errors import InputError
from instrux.prompts.flan import DEFAULT_FORM, FlanForm, FlanText
from instrux.prompts.flan_continuations import continuation_fields
from instrux.prompts.flan_fields import fields_of
from instrux.prompts.flan_templates import load_key, template_key
from instrux.prompts.template import Template


@dataclass(frozen=True)
class FlanPrompts:
    """All templates of a dataset and how its rows go through them.

    Attributes:
        dataset: the dataset, such as `anli_r1`.
        templates: its templates, in order.
        form: how examples are rendered.
        only: the one template to use, as for evaluation; None for all in turn.
        as_released: defects of the released code to have back; see `flan_defects`.
        continuation: whether these are prompts to be gone on with; see `flan_continuations`.
    """

    dataset: str
    templates: tuple[Template, ...]
    form: FlanForm = DEFAULT_FORM
    only: int | None = None
    as_released: tuple[str, ...] = ()
    continuation: bool = False

    @property
    def name(self) -> str:
        """The template's name where there is one only, else `all`."""
        return "all" if self.only is None else self.templates[self.only].name

    def render(self, row: Mapping[str, Any], example_id: str) -> FlanText | None:
        """Renders a raw row; None where it takes no part.

        Raises:
            InputError: the row is not one of this dataset, or cannot be rendered.
        """
        fields = fields_of(self.dataset, row, as_released=self.as_released)
        if fields is None:
            return None
        if self.continuation:
            fields = continuation_fields(self.dataset, fields)
        if self.only is None:
            return self.form.render(self.templates, fields, example_id)
        return self.form.render_with(self.templates, self.only, fields, example_id)


@dataclass(frozen=True)
class FlanPromptsReference:
    """Names a dataset's templates in a folder; read when they are needed.

    Attributes:
        folder: a folder of `<key>/templates.yaml`: the bundled one, the imported release, or one of
            your own.
        dataset: as in `FlanPrompts`, like the rest.
        form: how examples are rendered.
        only: the one template to use.
        as_released: defects to have back.
        continuation: whether these are prompts to be gone on with.
    """

    folder: str | os.PathLike[str]
    dataset: str
    form: FlanForm = DEFAULT_FORM
    only: int | None = None
    as_released: tuple[str, ...] = ()
    continuation: bool = False

    @property
    def name(self) -> str:
        """What is known before the file is read: `all`, or the template's number."""
        return "all" if self.only is None else f"template {self.only}"

    def resolve(self) -> FlanPrompts:
        """Reads the templates.

        Raises:
            InputError: there are none for this dataset, or fewer than asked for.
        """
        templates = load_key(self.folder, template_key(self.dataset))
        usable = len(self.form.chosen(templates))
        if self.only is not None and not 0 <= self.only < usable:
            raise InputError(f"{self.dataset} has no template {self.only}; it has {usable}")
        return FlanPrompts(
            self.dataset, templates, self.form, self.only, self.as_released, self.continuation
        )
