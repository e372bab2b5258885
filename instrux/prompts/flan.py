"""Renders a FLAN example: which template, how the options are shown, what stands around it.

Everything here is a function of a row as plain data and of its example id, so that any worker, order
or retry gives the same text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from instrux.errors import InputError
from instrux.prompts.flan_options import FIXED_LAYOUT, draw_layout, with_options_text
from instrux.prompts.flan_templates import (
    forward,
    shows_options,
    template_index,
    without_options,
)
from instrux.prompts.randomness import seeded_rng
from instrux.prompts.template import Template

Options = Literal["fixed", "random", "none"]
OPTIONS: tuple[Options, ...] = ("fixed", "random", "none")


@dataclass(frozen=True)
class Wrapper:
    """What stands around the inputs of an example.

    Attributes:
        before: text before the inputs.
        after: text after them.
    """

    before: str = ""
    after: str = ""

    def around(self, inputs: str) -> str:
        """Puts the wrapper around inputs."""
        return f"{self.before}{inputs}{self.after}"


NO_WRAPPER = Wrapper()
FLAN_DIALOGUE = Wrapper("0 ", " X 1 FLAN")
"""The dialogue format that the released code of 2021 puts around all inputs."""
DIALOGUE = Wrapper("0 ", " X 1")
"""The same without the tag, for scoring a model that was not tuned on FLAN."""


@dataclass(frozen=True)
class FlanText:
    """A rendered example.

    Attributes:
        inputs: what the model reads.
        targets: what it should write.
        template: the template's name.
        template_index: its place in the list, from 0.
        template_type: `zs_opt`, `zs_noopt`, `fs_opt` or `fs_noopt`, as in the Flan Collection.
        turned_around: whether the template turns the task around.
        answer_choices: the targets that rank classification scores; None where there are none.
        references: all acceptable targets where there may be several, else None.
        example_id: `dataset/config/split/row`.
        group: the question that several rows give answers to (MultiRC), else None.
    """

    inputs: str
    targets: str
    template: str
    template_index: int
    template_type: str
    turned_around: bool
    answer_choices: tuple[str, ...] | None
    references: tuple[str, ...] | None
    example_id: str
    group: str | None = None


@dataclass(frozen=True)
class FlanForm:
    """How examples of a task are rendered. Plain data that travels anywhere.

    Attributes:
        options: `fixed` for FLAN's own suffix, `random` for a layout drawn per example, `none` for
            prompts that do not show them.
        wrapper: what stands around the inputs; the released code of 2021 has `FLAN_DIALOGUE`.
        templates: how many templates to use, from the start of the list; None for all.
        forward_only: whether templates that turn the task around are left out, as for evaluation.
        random_templates: whether an example's template is drawn; otherwise its row number decides.
        seed: of all draws.
    """

    options: Options = "fixed"
    wrapper: Wrapper = NO_WRAPPER
    templates: int | None = None
    forward_only: bool = False
    random_templates: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.options not in OPTIONS:
            raise InputError(f"options={self.options!r} is unknown; give one of {OPTIONS}")
        if self.templates is not None and self.templates < 1:
            raise InputError(f"templates={self.templates}: give at least one, or None for all")

    def chosen(self, templates: Sequence[Template]) -> tuple[Template, ...]:
        """Gives the templates that take part, in order.

        Raises:
            InputError: there are fewer than asked for.
        """
        usable = forward(templates) if self.forward_only else tuple(templates)
        if self.templates is None:
            return usable
        if self.templates > len(usable):
            raise InputError(f"{self.templates} templates are asked for, there are {len(usable)}")
        return usable[: self.templates]

    def index(self, templates: Sequence[Template], example_id: str) -> int:
        """Says which of the templates that take part an example gets."""
        seed = self.seed if self.random_templates else None
        return template_index(example_id, len(self.chosen(templates)), seed=seed)

    def render(
        self, templates: Sequence[Template], row: Mapping[str, Any], example_id: str
    ) -> FlanText:
        """Renders a row with the template that falls to it; see `render_with`."""
        return self.render_with(templates, self.index(templates, example_id), row, example_id)

    def render_with(
        self, templates: Sequence[Template], index: int, row: Mapping[str, Any], example_id: str
    ) -> FlanText:
        """Renders a row with one of the templates that take part.

        Args:
            templates: the key's templates in order, as `flan_templates.load_key` gives them.
            index: which of those that take part.
            row: preprocessed fields, with `options` where the task has any.
            example_id: `dataset/config/split/row`.

        Raises:
            InputError: the template cannot be rendered with this row, or shows options and the row
                has none.
        """
        template = self.chosen(templates)[index]
        fields = self._fields(template, row, example_id)
        if self.options == "none":
            template = without_options(template)
        rng = seeded_rng(self.seed, example_id, template.name) if template.draws else None
        rendered = template.apply(fields, rng=rng, truncate=False, strip=False)
        if rendered.inputs is None or rendered.targets is None:
            raise InputError(
                f"template {template.name!r} of {template.dataset} gives {len(rendered.parts)}"
                f" parts for {example_id}; it must have one |||"
            )
        turned = bool(template.metadata.turned_around)
        inputs = rendered.inputs.strip() if self.options == "none" else rendered.inputs
        return FlanText(
            inputs=self.wrapper.around(inputs),
            targets=rendered.targets,
            template=template.name,
            template_index=index,
            template_type="zs_noopt" if self.options == "none" else "zs_opt",
            turned_around=turned,
            answer_choices=None if turned else _texts(fields.get("options")),
            references=None if turned else _texts(fields.get("answers")),
            example_id=example_id,
            group=None if turned or row.get("group") is None else str(row["group"]),
        )

    def _fields(
        self, template: Template, row: Mapping[str, Any], example_id: str
    ) -> dict[str, Any]:
        shown = shows_options(template)
        if shown and self.options != "none" and not row.get("options"):
            raise InputError(
                f"template {template.name!r} of {template.dataset} shows options and"
                f" {example_id} has none; use options='none'"
            )
        if self.options == "none":
            return {**row, "options_": "", "options_str": ""}
        if not shown or self.options == "fixed":
            # A layout that names its items must not reach a template that does not show them:
            # "write a (b). review" is what the released code of 2022 makes of it.
            return with_options_text(row, FIXED_LAYOUT)
        rng = seeded_rng(self.seed, example_id, "flan-option-layout")
        return with_options_text(row, draw_layout(rng, len(row["options"])))


DEFAULT_FORM = FlanForm()
"""Zero-shot with the fixed suffix, all templates in turn, no wrapper."""


def _texts(values: Any) -> tuple[str, ...] | None:
    return tuple(str(value) for value in values) if values else None
