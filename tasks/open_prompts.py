"""Prompts of the kind that people send to an assistant, for evaluation only.

    user_oriented_instructions    Self-Instruct's 252, each with a person's answer (ROUGE-L)
    vicuna_questions              80 questions without one: `distinct_2` tells how little an answer
                                  repeats itself; people judge the rest (docs/labelling.md)

Their files are taken from the folders that INSTRUX_MIRROR names.
"""

from instrux.data import registration
from instrux.data.plain_templates import InstructionTemplate
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import PythonSource

CLUSTER = "open prompts"


def _task(name: str, function: str, metrics: tuple[str, ...]) -> PromptedTask:
    source = PythonSource(
        name,
        function=f"instrux.data.open_prompt_rows:{function}",
        split_names=("test",),
    )
    return PromptedTask(
        name=name,
        source=source,
        template=InstructionTemplate(),
        splits={"validation": "test"},
        metrics=metrics,
        cluster=CLUSTER,
        truncate=False,
    )


TASKS = (
    _task("user_oriented_instructions", "user_oriented_rows", ("rougeL", "distinct_2")),
    _task("vicuna_questions", "vicuna_rows", ("distinct_2",)),
)


def _register() -> None:
    for task in TASKS:
        registration.add_prompted_task(task, score_eval=False)


_register()
