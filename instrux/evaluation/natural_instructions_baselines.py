"""The two heuristics of Natural Instructions that need no model (arXiv 2204.07705, section 6)."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from instrux.data.natural_instructions_files import task_files
from instrux.data.sources_natural_instructions import NUM_TEST_INSTANCES
from instrux.evaluation.natural_instructions import ScoredInstance
from instrux.prompts.natural_instructions import Instance, Task, load_task


def copy_demo(task: Task, instance: Instance) -> str:
    """Answers with the output of the task's first positive example."""
    del instance
    return task.positive_examples[0].output if task.positive_examples else ""


def copy_input(task: Task, instance: Instance) -> str:
    """Answers with the input."""
    del task
    return instance.input


BASELINES: Mapping[str, Callable[[Task, Instance], str]] = {
    "copy_demo": copy_demo,
    "copy_input": copy_input,
}


def baseline_predictions(
    name: str, place: str | Path, *, track: str = "default"
) -> Iterator[ScoredInstance]:
    """Gives a baseline's predictions on the test instances of every task in a place.

    Args:
        name: a key of `BASELINES`.
        place: as in `natural_instructions_files.places`.
        track: of the tasks.
    """
    answer = BASELINES[name]
    for path in task_files(place):
        task = load_task(path)
        for instance in task.instances:
            if instance.position < NUM_TEST_INSTANCES:
                yield ScoredInstance(
                    id=instance.id,
                    task=task.name,
                    category=task.category,
                    references=instance.references,
                    prediction=answer(task, instance),
                    track=track,
                )
