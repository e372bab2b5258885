"""What the stages that read a mixture of rendered tasks have in common."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from instrux.data.excluded import Excluded, kept_by_file, told_excluded
from instrux.data.left_out import LeftOutTask, leave_out, told
from instrux.data.manifest import CompletedFolder
from instrux.data.rendered import RenderedSplit, RenderManifest, rendered_manifests
from instrux.errors import InputError
from instrux.progress import tell


class MixtureSettings(Protocol):
    """The settings of such a stage, as far as they concern what is read."""

    @property
    def mixture(self) -> str:
        """The mixture's name."""
        ...

    @property
    def split(self) -> str:
        """The rendered split."""
        ...

    @property
    def leave_out(self) -> tuple[str, ...]:
        """Globs over names of tasks and datasets that are not used."""
        ...

    @property
    def leave_out_missing(self) -> bool:
        """Whether tasks that are not rendered are left out."""
        ...


class MixtureTask(Protocol):
    """A task of a mixture."""

    @property
    def name(self) -> str:
        """Its name in the mixture."""
        ...

    @property
    def rendered(self) -> str:
        """Its name among the rendered tasks, which a twin shares."""
        ...

    @property
    def rate(self) -> float:
        """Its mixing rate."""
        ...

    @property
    def dataset(self) -> str:
        """`dataset` or `dataset/config`."""
        ...


AnyTask = TypeVar("AnyTask", bound=MixtureTask)


class KeptRows:
    """How many examples of each task no list of rows excludes; files are read once at most."""

    def __init__(
        self, excluded: Excluded, splits: Mapping[str, RenderedSplit], rendered: Mapping[str, str]
    ) -> None:
        self._excluded, self._splits, self._rendered = excluded, splits, rendered
        self._counts: dict[str, list[int]] = {}

    def by_file(self, task: str) -> list[int]:
        """The examples that stay, by the task's files.

        Raises:
            InputError: the task is not rendered, or a file is damaged.
        """
        if task not in self._counts:
            excluded = self._excluded.of(self._rendered[task])
            self._counts[task] = kept_by_file(self._splits[task], excluded)
        return self._counts[task]

    def of(self, task: str) -> int:
        """The examples that stay, in all."""
        return sum(self.by_file(task))

    def emptied(self, task: str) -> int:
        """How many examples a task has that are all excluded; 0 if one stays, or there is none."""
        if not len(self._excluded.of(self._rendered[task])) or not self._splits[task].exists():
            return 0
        return 0 if self.of(task) else self._splits[task].manifest().examples


def has_nothing(split: RenderedSplit) -> bool:
    """Is a split not rendered, or without an example? Such tasks `leave_out_missing` leaves out."""
    return not split.exists() or not split.manifest().examples


def without_left_out(
    stage: str,
    settings: MixtureSettings,
    splits: Mapping[str, RenderedSplit],
    rates: Mapping[str, float],
    *,
    datasets: Mapping[str, str] | None = None,
    kept: KeptRows | None = None,
) -> tuple[dict[str, float], tuple[LeftOutTask, ...]]:
    """Takes out of a mixture what its settings leave out, and tells it.

    Args:
        stage: its name, for messages.
        settings: what to leave out.
        splits: the rendered split of every task.
        rates: the rate of every task.
        datasets: the dataset of every task.
        kept: knows what lists of rows exclude, where tasks without a row are to be left out.

    Returns:
        The rates of the others, in order; what is left out.

    Raises:
        InputError: a pattern matches nothing, or nothing is left.
    """

    def is_missing(task: str) -> bool:
        return has_nothing(splits[task])

    try:
        used, left_out = leave_out(
            rates,
            patterns=settings.leave_out,
            datasets=datasets,
            is_missing=is_missing if settings.leave_out_missing else None,
            emptied=kept.emptied if kept is not None else None,
        )
    except InputError as error:
        raise InputError(f"{stage} {settings.mixture}: {error}") from error
    if left_out:
        tell(f"{stage} {settings.mixture}: {told(left_out, len(rates))}")
    return used, left_out


def tasks_used(
    stage: str,
    settings: MixtureSettings,
    data_dir: str | Path,
    tasks: Sequence[AnyTask],
    *,
    kept: KeptRows | None = None,
) -> tuple[list[AnyTask], tuple[LeftOutTask, ...]]:
    """`without_left_out` of tasks that know their rates and datasets.

    Raises:
        InputError: as there, or the mixture has no task.
    """
    if not tasks:
        raise InputError(f"{stage} {settings.mixture}: the mixture has no task")
    used, left_out = without_left_out(
        stage,
        settings,
        splits_of(settings, data_dir, tasks),
        {task.name: task.rate for task in tasks},
        datasets={task.name: task.dataset for task in tasks},
        kept=kept,
    )
    return [task for task in tasks if task.name in used], left_out


def splits_of(
    settings: MixtureSettings, data_dir: str | Path, tasks: Sequence[MixtureTask]
) -> dict[str, RenderedSplit]:
    """The rendered split of every task, by its name in the mixture."""
    return {task.name: RenderedSplit(data_dir, task.rendered, settings.split) for task in tasks}


def manifests_of(
    stage: str, settings: MixtureSettings, splits: Mapping[str, RenderedSplit]
) -> dict[str, RenderManifest]:
    """Reads the manifests of rendered splits, by the same names.

    Raises:
        InputError: one is not rendered.
    """
    try:
        return rendered_manifests(splits)
    except InputError as error:
        raise InputError(f"{stage} {settings.mixture}: {error}") from error


def refuse_emptied(stage: str, settings: MixtureSettings, kept: KeptRows, task: str) -> None:
    """Refuses a task of which lists of rows leave nothing.

    Raises:
        InputError: there is nothing left of it.
    """
    if count := kept.emptied(task):
        raise InputError(
            f"{stage} {settings.mixture}: all {count:,} examples of task {task} are excluded. "
            "To go on without such tasks: --leave_out_emptied."
        )


def tell_excluded(
    stage: str,
    settings: MixtureSettings,
    lists: Sequence[str],
    dropped: Mapping[str, int],
) -> None:
    """Tells how many examples of which tasks lists of rows exclude."""
    if lists:
        tell(f"{stage} {settings.mixture}: {told_excluded(lists, dropped)}")


def refuse_foreign(output: CompletedFolder, page: str, stage: str) -> None:
    """Refuses a folder with a page that this stage did not write.

    Raises:
        InputError: there is one.
    """
    if (output.folder / page).exists() and not (
        output.manifest_path.exists() and output.manifest().stage == stage
    ):
        raise InputError(
            f"{output.folder / page}: is there already, and no {stage} wrote it; "
            "give another folder by --out"
        )
