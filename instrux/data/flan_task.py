"""A task of FLAN: one dataset with all its templates in turn, where T0 has a task a template."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from instrux.data.examples import RenderedExample
from instrux.data.prompted_task import EMPTY_INPUTS, NO_LABEL, NOT_APPLICABLE, PromptedTask, Skipped
from instrux.prompts.flan import FlanText


@dataclasses.dataclass(frozen=True)
class FlanTask(PromptedTask):
    """A FLAN dataset with its prompts.

    `template` is a `FlanPromptsReference`, or the `FlanPrompts` that it resolves to. `seed`,
    `truncate` and `strip` have no meaning here: the prompts' form has a seed, FLAN cuts no printed
    expression, and values keep their white space.
    """

    def render(self, row: Mapping[str, Any], example_id: str) -> RenderedExample | Skipped:
        """Renders a row with the template that its number gives; the prompts must be resolved.

        Rows that the dataset's filters leave out are skipped as `not_applicable`.

        Raises:
            InputError: the row is not one of this dataset, or cannot be rendered.
        """
        prompts: Any = self.template
        text = prompts.render(row, example_id)
        return Skipped(NOT_APPLICABLE) if text is None else rendered_example(text)


def rendered_example(text: FlanText) -> RenderedExample | Skipped:
    """Gives a text as the example that is stored."""
    if not text.inputs.strip():
        return Skipped(EMPTY_INPUTS)
    return RenderedExample(
        inputs=text.inputs,
        targets=text.targets if text.targets.strip() else NO_LABEL,
        example_id=text.example_id,
        template=text.template,
        answer_choices=text.answer_choices,
        references=text.references,
        group=text.group,
    )
