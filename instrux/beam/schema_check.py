"""Compares what templates take from a row with the columns that a dataset has, before rendering."""

from collections.abc import Iterable, Sequence

from instrux.beam.plan import SplitJob

_SHOWN = 3


def schema_problem(jobs: Sequence[SplitJob]) -> str:
    """Says in one line that templates name columns which the rows they read do not have.

    Args:
        jobs: of one source and one split of it.

    Returns:
        The line; "" if every field is there, or if only reading the rows would tell (JSON lines:
        the finished split is then judged by its rows).
    """
    source, split = jobs[0].task.source, jobs[0].task.splits[jobs[0].split]
    columns = source.columns(split)
    if columns is None:
        return ""
    known = {name.replace("-", "_") for name in columns}
    lacking: dict[str, list[str]] = {}
    for job in jobs:
        for field in job.template_fields:
            if field not in known:
                lacking.setdefault(field, []).append(job.task.template.name)
    if not lacking:
        return ""
    wanted = "; ".join(
        f"{field!r} by {len(names)} of {len(jobs)} ({_some(names)})"
        for field, names in sorted(lacking.items())
    )
    return (
        f"Dataset {source.label!r}, split {split!r}: templates name fields that it does not have: "
        f"{wanted}; its columns are {list(columns)}. Declare what the fields are called now "
        "(docs/sources.md), mend the templates, or allow missing fields to have them render as "
        "nothing."
    )


def _some(names: Iterable[str]) -> str:
    every = [repr(name) for name in names]
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
