"""The two heuristics of Natural Instructions that need no model (arXiv 2204.07705, section 6)."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from instrux.data.natural_instructions_files import DATASET, task_files
from instrux.data.sources_base import Row
from instrux.data.sources_natural_instructions import NaturalInstructionsSource
from instrux.errors import InputError
from instrux.evaluation.natural_instructions import ScoredInstance
from instrux.progress import tell


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
        source = NaturalInstructionsSource(DATASET, path.stem, place=str(path))
        for shard in source.shards("test"):
            for _, row in source.read(shard, on_bad_row=_tell_bad_row):
                categories = row["Categories"]
                yield ScoredInstance(
                    id=row["id"],
                    task=path.stem,
                    category=categories[0] if categories else "",
                    references=tuple(row["Instance"]["output"]),
                    prediction=answer(row),
                    track=track,
                )


def _tell_bad_row(row: int, error: InputError) -> None:
    del row  # the error names the instance
    tell(str(error))
