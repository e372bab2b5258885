"""The report's section on T0's held-out datasets: its figure, and published figures beside ours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instrux.evaluation import held_out_plot
from instrux.evaluation.aggregate import Cell
from instrux.evaluation.compare import Arm
from instrux.evaluation.drawing import Drawing
from instrux.evaluation.held_out_plot import Panel, PublishedMark
from instrux.evaluation.published import T0_HELD_OUT, PublishedFigure, published_figures
from instrux.evaluation.report_tables import ABSENT, percent
from instrux.evaluation.results import TaskResult
from instrux.evaluation.runs import EvaluatedRun

_DRAWN = ("mean", "median")


@dataclass(frozen=True)
class PublishedRow:
    """A published figure beside the arms' own; all text."""

    dataset: str
    statistic: str
    own: tuple[str, ...]
    model: str
    value: str
    source: str


@dataclass(frozen=True)
class HeldOutSection:
    """T0's held-out datasets in a report.

    Attributes:
        drawing: the figure.
        caption: what its signs mean.
        absent: names of the datasets that no run was evaluated on.
        published: confirmed figures of others, beside those of the report's runs.
        unconfirmed: figures whose source was not read: beside nothing.
    """

    drawing: Drawing
    caption: str
    absent: tuple[str, ...]
    published: tuple[PublishedRow, ...]
    unconfirmed: tuple[PublishedFigure, ...]

    @property
    def sources(self) -> list[str]:
        """Where the confirmed figures stand."""
        return list(dict.fromkeys(row.source for row in self.published))


@dataclass(frozen=True)
class _ArmOnDataset:
    """An arm's prompts on one dataset, each with its mean over seeds."""

    scores: tuple[float, ...]
    results: tuple[TaskResult, ...]
    num_rows: int

    def statistic(self, name: str) -> float | None:
        if not self.scores or name not in _DRAWN:
            return None
        return float(np.mean(self.scores) if name == "mean" else np.median(self.scores))


def held_out_section(arms: Sequence[Arm]) -> HeldOutSection | None:
    """Gives the section, or None where no run was evaluated on one of T0's held-out datasets.

    As in the paper, only prompts that ask for what a dataset is about count (`original_task`). A
    dataset that all runs were asked by one prompt alone has no place here: the figures are means,
    medians and spreads over prompts.
    """
    found = [_by_dataset(arm) for arm in arms]
    several = {label for by in found for label, own in by.items() if len(own.scores) > 1}
    shown = [label for label in T0_HELD_OUT if label in several]
    if not shown:
        return None
    panels = [_panel(label, arms, found) for label in shown]
    absent = tuple(held.name for label, held in T0_HELD_OUT.items() if label not in shown)
    stars = any(any(panel.trained_on) for panel in panels)
    caption = (
        "A mark is a prompt, a box holds the middle half of a dataset's prompts, the thick line is"
        " their median; only prompts for the dataset's own task. Hollow: published, whole"
        " validation sets."
    )
    return HeldOutSection(
        drawing=held_out_plot.held_out(panels, [arm.name for arm in arms]),
        caption=caption + (" *: trained on this dataset." if stars else ""),
        absent=absent,
        published=tuple(_published_rows(found)),
        unconfirmed=tuple(
            f for f in published_figures() if not f.confirmed and f.dataset in T0_HELD_OUT
        ),
    )


def dataset_label(cell: Cell) -> str:
    """A dataset's label whatever else was evaluated: ANLI's always has its round."""
    source, split, _ = cell.credits.example_ids[0].rsplit("/", 2)
    source = source.removesuffix("/default")
    return f"{source}/{split}" if source == "anli" else source


def _by_dataset(arm: Arm) -> dict[str, _ArmOnDataset]:
    found: dict[str, list[tuple[EvaluatedRun, Cell]]] = {}
    for run in arm.runs:
        for cell in run.cells.values():
            if cell.metric == "accuracy":
                found.setdefault(dataset_label(cell), []).append((run, cell))
    made = {label: _of_cells([cell for _, cell in cells]) for label, cells in found.items()}
    return {label: own for label, own in made.items() if own.scores}


def _of_cells(cells: Sequence[Cell]) -> _ArmOnDataset:
    by_task: dict[str, list[TaskResult]] = {}
    for cell in cells:
        for result in cell.results:
            if result.original_task:
                by_task.setdefault(result.task, []).append(result)
    return _ArmOnDataset(
        scores=tuple(float(np.mean([r.score for r in runs])) for runs in by_task.values()),
        results=tuple(runs[0] for runs in by_task.values()),
        num_rows=len({i for cell in cells for i in cell.credits.example_ids}),
    )


def _panel(label: str, arms: Sequence[Arm], found: Sequence[dict[str, _ArmOnDataset]]) -> Panel:
    present = [by[label] for by in found if label in by]
    prompts = max(len(own.scores) for own in present)
    rows = max(own.num_rows for own in present)
    return Panel(
        title=T0_HELD_OUT[label].name,
        detail=f"{prompts} prompt{'s' if prompts != 1 else ''}, {rows:,} rows",
        scores=tuple(by[label].scores if label in by else () for by in found),
        trained_on=tuple(_trained_on(arm, label) for arm in arms),
        chance=float(np.mean([result.baseline for result in present[0].results])),
        published=tuple(
            PublishedMark(f"{figure.model}, {figure.statistic}", figure.value)
            for figure in published_figures()
            if figure.confirmed and figure.dataset == label and figure.statistic in _DRAWN
        ),
    )


def _trained_on(arm: Arm, label: str) -> bool:
    """Whether an arm's mixture has tasks of a dataset; False where the mixture is not known."""
    source = "anli" if label.startswith("anli/") else label
    prefix = f"{source.replace('/', '_')}_"
    return any(
        task.name.startswith(prefix)
        for whole in arm.runs
        for run in whole.trained
        if run.pack is not None
        for task in run.pack.tasks
    )


def _published_rows(found: Sequence[dict[str, _ArmOnDataset]]) -> list[PublishedRow]:
    rows = []
    for figure in published_figures():
        if not figure.confirmed or not _is_held_out(figure.dataset):
            continue
        own = [_own(by, figure) for by in found]
        if any(figure.dataset in by for by in found) or any(v is not None for v in own):
            rows.append(
                PublishedRow(
                    dataset=figure.dataset,
                    statistic=figure.statistic + (f" ({figure.note})" if figure.note else ""),
                    own=tuple(ABSENT if value is None else percent(value) for value in own),
                    model=figure.model,
                    value=f"{figure.value:.2f}".removesuffix("0"),
                    source=figure.source,
                )
            )
    return sorted(rows, key=lambda row: (row.dataset, row.model, row.statistic))


def _is_held_out(dataset: str) -> bool:
    return dataset in T0_HELD_OUT or dataset == "anli"


def _own(by_dataset: dict[str, _ArmOnDataset], figure: PublishedFigure) -> float | None:
    """An arm's figure of the same kind; ANLI's is the mean over the three rounds."""
    if figure.dataset != "anli":
        own = by_dataset.get(figure.dataset)
        return None if own is None else own.statistic(figure.statistic)
    rounds = [by_dataset.get(f"anli/dev_r{number}") for number in (1, 2, 3)]
    values = [own.statistic(figure.statistic) for own in rounds if own is not None]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == 3 else None
