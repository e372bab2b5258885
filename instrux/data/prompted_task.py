"""A prompted task: one dataset seen through one template."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

from instrux.data.examples import RenderedExample
from instrux.data.sources_base import RowSource
from instrux.prompts.randomness import seeded_rng

NO_LABEL = "<NO LABEL>"  # what T0 trains on where a hidden label gives an empty target
NOT_APPLICABLE = "not_applicable"
MORE_THAN_TWO_PARTS = "more_than_two_parts"
EMPTY_INPUTS = "empty_inputs"


@dataclasses.dataclass(frozen=True, slots=True)
class Skipped:
    """A row that a template leaves out on purpose.

    Attributes:
        reason: `not_applicable` (the template says nothing about this row), `more_than_two_parts`
            or `empty_inputs`.
    """

    reason: str


class TaskTemplate(Protocol):
    """What turns a row into text, or a reference whose `resolve()` gives that.

    Rooms below differ in how: a `Template` has `apply`, FLAN's prompts have `render`.
    """

    @property
    def name(self) -> str:
        """What predictions and reports call it."""
        ...


@dataclasses.dataclass(frozen=True)
class PromptedTask:
    """One dataset seen through one template. Plain data, and all that a worker gets.

    Attributes:
        name: the task's name in SeqIO.
        source: where its rows come from.
        template: what turns a row into text, or where to find it.
        splits: the task's split -> the source's, as {"validation": "dev_r1"}.
        seed: of the random choices that templates make.
        metrics: names of the metrics that evaluation reports.
        cluster: the kind of task, as the paper that defined it groups them.
        train_examples: size of the train split, for mixing rates; from a table, never read.
        original_task: whether the template asks what the dataset was made to ask.
        truncate: whether each printed expression is cut at 2,048 characters, as PromptSource does.
        strip: whether white space around inputs and targets goes (PromptSource from 0.1.0 on).
        template_release: where the template was looked up, once it was; for the record.
    """

    name: str
    source: RowSource
    template: TaskTemplate
    splits: Mapping[str, str]
    seed: int = 0
    metrics: tuple[str, ...] = ("accuracy",)
    cluster: str = ""
    train_examples: int | None = None
    original_task: bool = True
    truncate: bool = True
    strip: bool = True
    template_release: str = ""

    def resolve(self) -> "PromptedTask":
        """The same task with its template looked up, if it was a reference."""
        resolve: Any = getattr(self.template, "resolve", None)
        if resolve is None:
            return self
        release = _release_of(self.template)
        return dataclasses.replace(self, template=resolve(), template_release=release)

    @cached_property
    def _draws(self) -> bool:
        return getattr(self.template, "draws", True)

    def render(self, row: Mapping[str, Any], example_id: str) -> RenderedExample | Skipped:
        """Applies the template to a row as T0's pipeline does.

        Hyphens in field names become underscores, a template must give exactly two parts, and an
        empty target becomes `<NO LABEL>`. The template must be resolved. A pure function: the
        random choices depend on seed, example id and template only.

        Raises:
            InputError: the template cannot be rendered with this row.
        """
        template: Any = self.template
        # Making a generator takes as long as rendering a short template, so only those that may
        # draw get one.
        rng = seeded_rng(self.seed, example_id, template.name) if self._draws else None
        rendered = template.apply(
            with_field_names(row), rng=rng, truncate=self.truncate, strip=self.strip
        )
        if len(rendered.parts) != 2:
            return Skipped(NOT_APPLICABLE if len(rendered.parts) < 2 else MORE_THAN_TWO_PARTS)
        inputs, targets = rendered.parts
        if not inputs:
            return Skipped(EMPTY_INPUTS)
        choices, references = rendered.answer_choices, getattr(rendered, "references", None)
        return RenderedExample(
            inputs=inputs,
            targets=targets if targets else NO_LABEL,
            example_id=example_id,
            template=template.name,
            answer_choices=tuple(choices) if choices else None,
            references=tuple(references) if references else None,
        )


def _release_of(template: Any) -> str:
    reference = getattr(template, "reference", template)  # of a mended one
    release = getattr(reference, "release", None)
    return release if isinstance(release, str) else ""


def with_field_names(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with hyphens in its field names made underscores, as Jinja needs them."""
    if "-" in "".join(row):
        return {name.replace("-", "_"): value for name, value in row.items()}
    return row
