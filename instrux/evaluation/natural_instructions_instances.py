"""Test instances of Natural Instructions' task files, and answers that were given to them elsewhere."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from instrux.data.natural_instructions_files import DATASET, task_files
from instrux.data.sources_base import Row
from instrux.data.sources_natural_instructions import NaturalInstructionsSource
from instrux.errors import InputError, did_you_mean
from instrux.evaluation.natural_instructions import ScoredInstance, read_answers, tell_missing
from instrux.progress import tell


def test_instances(path: Path) -> Iterator[tuple[int, Row]]:
    """Gives the test instances of a task file with their numbers; one that cannot be read is told."""
    source = NaturalInstructionsSource(DATASET, path.stem, place=str(path))
    for shard in source.shards("test"):
        yield from source.read(shard, on_bad_row=_tell_bad_row)


def scored_instance(row: Row, *, task: str, prediction: str, track: str) -> ScoredInstance:
    """An instance with what was said about it."""
    categories = row["Categories"]
    return ScoredInstance(
        id=row["id"],
        task=task,
        category=categories[0] if categories else "",
        references=tuple(row["Instance"]["output"]),
        prediction=prediction,
        track=track,
    )


def answered_instances(
    predictions: str | Path,
    place: str | Path,
    *,
    track: str = "default",
    other_names: Mapping[str, str] | None = None,
) -> tuple[list[ScoredInstance], tuple[str, ...]]:
    """Holds answers against the test instances of the tasks that they are about.

    Args:
        predictions: lines of `prediction` and `id`, the instance's own, or `example_id`, as
            `instrux export` names the row.
        place: as in `natural_instructions_files.places`.
        track: of the tasks.
        other_names: another name of a task by that of its file.

    Returns:
        All test instances of every task that has an answer; the ids of those without a
        prediction, which count as "".

    Raises:
        InputError: a file cannot be read, or an answer is to no test instance of the place.
    """
    said = read_answers(predictions)
    instances: list[ScoredInstance] = []
    missing: list[str] = []
    used: set[str] = set()
    known: list[str] = []
    for path in task_files(place):
        tasks = (path.stem, (other_names or {}).get(path.stem, path.stem))
        rows = [
            (row, (row["id"], *(f"{DATASET}/{task}/test/{number}" for task in tasks)))
            for number, row in test_instances(path)
        ]
        found = [next((name for name in names if name in said), None) for _, names in rows]
        known += (name for _, names in rows for name in names)
        if not any(found):
            continue
        used.update(name for name in found if name is not None)
        missing += (row["id"] for (row, _), name in zip(rows, found, strict=True) if name is None)
        instances += (
            scored_instance(
                row, task=path.stem, prediction="" if name is None else said[name], track=track
            )
            for (row, _), name in zip(rows, found, strict=True)
        )
    for name in said:
        if name not in used:
            raise InputError(
                f"{predictions}: {name!r} is no test instance of a task in {place}, or has been "
                f"answered under its other name.{did_you_mean(name, known)}"
            )
    tell_missing(predictions, missing, len(instances))
    return instances, tuple(missing)


def _tell_bad_row(row: int, error: InputError) -> None:
    del row  # the error names the instance
    tell(str(error))
