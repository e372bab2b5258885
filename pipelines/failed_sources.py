"""Datasets that could not be read: told at the end of a render, and written for a program."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from instrux.data.files import as_path, write_json_atomically
from instrux.data.prompted_task import PromptedTask
from instrux.errors import InputError
from instrux.progress import tell

NAME = "failed_sources.json"
Kind = Literal["unreadable", "schema", "interrupted"]


@dataclasses.dataclass(frozen=True)
class FailedSource:
    """One split of a dataset that was not rendered.

    Attributes:
        dataset: the dataset's name.
        config: its configuration, or None.
        split: the source's split.
        kind: `unreadable` (nothing of it can be had), `schema` (its columns are not those that
            templates name) or `interrupted` (reading failed midway).
        reason: why, in one line, with the mend.
        tasks: names of the tasks that lack the split.
    """

    dataset: str
    config: str | None
    split: str
    kind: Kind
    reason: str
    tasks: tuple[str, ...]

    @classmethod
    def of(
        cls, group: Sequence[tuple[PromptedTask, str]], kind: Kind, reason: str
    ) -> "FailedSource":
        """The one that these (task, split) have in common."""
        task, split = group[0]
        return cls(
            dataset=task.source.dataset,
            config=task.source.config,
            split=task.splits[split],
            kind=kind,
            reason=reason,
            tasks=tuple(task.name for task, _ in group),
        )

    @property
    def label(self) -> str:
        """`super_glue/rte`, or `imdb`."""
        return f"{self.dataset}/{self.config}" if self.config else self.dataset


def failed_sources_path(data_dir: str | Path) -> Path:
    """Where the latest render wrote what it could not read."""
    return as_path(data_dir) / "rendered" / NAME


def record(data_dir: str | Path, failed: Sequence[FailedSource]) -> None:
    """Writes the file of the latest render, or removes that of an earlier one if nothing failed."""
    path = failed_sources_path(data_dir)
    if failed:
        content = {"failed_sources": [dataclasses.asdict(each) for each in failed]}
        write_json_atomically(path, content)
    else:
        path.unlink(missing_ok=True)


def tell_failed(data_dir: str | Path, failed: Sequence[FailedSource]) -> None:
    """Tells every dataset that was left out, one line a split, and where they are listed."""
    if not failed:
        return
    tasks = {task for each in failed for task in each.tasks}
    for each in failed:
        tell(
            f"render: LEFT OUT {each.label}, split {each.split} ({len(each.tasks)} tasks): "
            f"{each.reason}"
        )
    tell(
        f"render: {_datasets(failed)} could not be read; {len(tasks)} tasks lack a split; "
        f"all are listed in {failed_sources_path(data_dir)}"
    )


def refusal(data_dir: str | Path, failed: Sequence[FailedSource], *, others: bool) -> InputError:
    """The error of a render that cannot go on, or is not to go on, without them.

    Args:
        data_dir: the folder that has `rendered/`.
        failed: what could not be read, one at least.
        others: whether there is anything to render beside them.
    """
    message = failed[0].reason
    if len(failed) > 1:
        listed = failed_sources_path(data_dir)
        message = f"{message.rstrip('.')} (and {len(failed) - 1} more splits, listed in {listed})."
    if others:
        message = f"{message.rstrip('.')}. To render the rest without: --skip_failing_sources."
    return InputError(message)


def _datasets(failed: Sequence[FailedSource]) -> str:
    labels = {each.label for each in failed}
    return f"{len(labels)} dataset{'s' if len(labels) > 1 else ''}"
