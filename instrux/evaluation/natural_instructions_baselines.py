"""The two heuristics of Natural Instructions that need no model (arXiv 2204.07705, section 6)."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from instrux.data.natural_instructions_files import task_files
from instrux.data.sources_base import Row
from instrux.evaluation.natural_instructions import ScoredInstance
from instrux.evaluation.natural_instructions_instances import scored_instance, test_instances


def copy_demo(row: Row) -> str:
    """Answers with the output of the task's first positive example."""
    examples = row["Positive Examples"]
    return examples[0]["output"] if examples else ""


def copy_input(row: Row) -> str:
    """Answers with the input."""
    return row["Instance"]["input"]


BASELINES: Mapping[str, Callable[[Row], str]] = {
    "copy_demo": copy_demo,
    "copy_input": copy_input,
}


def baseline_predictions(
    name: str, place: str | Path, *, track: str = "default"
) -> Iterator[ScoredInstance]:
    """Gives a baseline's predictions on the test instances of every task in a place.

    An instance that cannot be read is told and left out.

    Args:
        name: a key of `BASELINES`.
        place: as in `natural_instructions_files.places`.
        track: of the tasks.
    """
    answer = BASELINES[name]
    for path in task_files(place):
        for _, row in test_instances(path):
            yield scored_instance(row, task=path.stem, prediction=answer(row), track=track)
