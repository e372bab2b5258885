"""The report's section on bias and fairness: T0's three sets, as its model card tabulates them.

CrowS-Pairs and WinoGender (SuperGLUE's `axg`) are ranked; given are mean and median over prompts.
WinoBias is generated, and an answer is right if the target noun is in it. Each of its types has a
pro-stereotypical and an anti-stereotypical subset of the same sentences with other pronouns: the
gap is what is right of the first less what is right of the second, of means and of medians.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from instrux.evaluation import bootstrap
from instrux.evaluation.aggregate import Cell
from instrux.evaluation.bootstrap import DatasetCredits
from instrux.evaluation.compare import Arm
from instrux.evaluation.published import PublishedFigure, published_figures
from instrux.evaluation.report_held_out import dataset_label
from instrux.evaluation.report_tables import ABSENT, between, percent
from instrux.evaluation.results import Interval

_RANKED = {"crows_pairs": "CrowS-Pairs", "super_glue/axg": "WinoGender"}
_WINO_BIAS_METRIC = "contains_target_noun"
_TYPES = {"wino_bias/type1": "type 1", "wino_bias/type2": "type 2"}
_SIDES = ("pro", "anti")
_STATISTICS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda scores: np.clip(scores.mean(axis=-1), 0.0, 100.0),
    "median": bootstrap.medians,
}


@dataclass(frozen=True)
class BiasRow:
    """One model: an arm of the report (its place), or a published one (None)."""

    model: str
    arm: int | None
    cells: tuple[str, ...]


@dataclass(frozen=True)
class BiasTable:
    """One table of models.

    Attributes:
        title: what it is about.
        detail: prompts and rows behind the arms' figures, and what is chance.
        groups: headings over the columns: (text, number of columns).
        columns: headings of the columns.
        rows: the arms, then published models.
        sources: where the published figures stand.
    """

    title: str
    detail: str
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    rows: tuple[BiasRow, ...]
    sources: tuple[str, ...]


def bias_tables(arms: Sequence[Arm], *, seed: int = 0) -> list[BiasTable]:
    """Gives the tables of the sets that some run was evaluated on; none where none was."""
    found = [_cells_of(arm) for arm in arms]
    return [
        table
        for table in (
            _ranked_table(arms, found),
            *(_wino_bias_table(arms, found, kind, seed) for kind in _TYPES),
        )
        if table is not None
    ]


_ByDataset = dict[str, list[Cell]]
"""Dataset -> one cell for each run of an arm."""


def _cells_of(arm: Arm) -> _ByDataset:
    found: _ByDataset = {}
    for run in arm.runs:
        for cell in [*run.cells.values(), *run.bias_cells]:
            label = dataset_label(cell)
            ranked = label in _RANKED and cell.results[0].mode == "rank"
            if ranked or cell.metric == _WINO_BIAS_METRIC:
                found.setdefault(label, []).append(cell)
    return found


def _ranked_table(arms: Sequence[Arm], found: Sequence[_ByDataset]) -> BiasTable | None:
    shown = [label for label in _RANKED if any(label in by for by in found)]
    if not shown:
        return None
    keys = [(label, statistic) for label in shown for statistic in _STATISTICS]
    rows = [
        BiasRow(arm.name, number, tuple(_own(by, *key) for key in keys))
        for number, (arm, by) in enumerate(zip(arms, found, strict=True))
    ]
    return BiasTable(
        title=" and ".join(_RANKED[label] for label in shown),
        detail=f"Accuracy over prompts, in percent, by ranking. {_details({label: _RANKED[label] for label in shown}, found)}",
        groups=tuple((_RANKED[label], len(_STATISTICS)) for label in shown),
        columns=tuple(statistic for _, statistic in keys),
        rows=(*rows, *_published(keys)),
        sources=_sources(keys),
    )


def _own(by_dataset: _ByDataset, label: str, statistic: str) -> str:
    """Mean over an arm's runs of a statistic over prompts."""
    cells = by_dataset.get(label)
    if not cells:
        return ABSENT
    return percent(float(np.mean([_STATISTICS[statistic](cell.scores) for cell in cells])))


def _wino_bias_table(
    arms: Sequence[Arm], found: Sequence[_ByDataset], kind: str, seed: int
) -> BiasTable | None:
    subsets = {f"{kind}_{side}": side for side in _SIDES}
    if not any(subset in by for by in found for subset in subsets):
        return None
    keys = [
        key
        for statistic in _STATISTICS
        for key in (*((subset, statistic) for subset in subsets), (kind, f"{statistic} gap"))
    ]
    rows = []
    for number, (arm, by) in enumerate(zip(arms, found, strict=True)):
        cells = [
            _gap(by, label, statistic.removesuffix(" gap"), seed)
            if statistic.endswith(" gap")
            else _own(by, label, statistic)
            for label, statistic in keys
        ]
        rows.append(BiasRow(arm.name, number, tuple(cells)))
    return BiasTable(
        title=f"WinoBias, {_TYPES[kind]}",
        detail=(
            "Answers with the target noun in them, over prompts, in percent, by generation;"
            f" gap: pro- less anti-stereotypical, in points. {_details(subsets, found)}"
        ),
        groups=tuple((statistic, 3) for statistic in _STATISTICS),
        columns=("pro", "anti", "gap") * len(_STATISTICS),
        rows=(*rows, *_published(keys)),
        sources=_sources(keys),
    )


def _gap(by_dataset: _ByDataset, kind: str, statistic: str, seed: int) -> str:
    sides = [by_dataset.get(f"{kind}_{side}") for side in _SIDES]
    if not sides[0] or not sides[1] or len(sides[0]) != len(sides[1]):
        return ABSENT
    compute = _STATISTICS[statistic]
    pairs = list(zip(*sides, strict=True))
    value = float(np.mean([compute(pro.scores) - compute(anti.scores) for pro, anti in pairs]))
    interval = gap_interval(pairs, statistic, seed=seed)
    shown = percent(value).replace("-", "−")
    return shown if interval is None else f"{shown} ({between(interval)})"


def gap_interval(
    pairs: Sequence[tuple[Cell, Cell]], statistic: str, *, seed: int = 0
) -> Interval | None:
    """95 % interval of a gap, from draws of sentences and prompts (not of training seeds).

    A sentence's two forms are drawn together, and so is a prompt in both subsets.

    Args:
        pairs: the pro- and the anti-stereotypical cell of each run.
        statistic: `mean` or `median`.
        seed: of the draws.

    Returns:
        None where the two subsets do not have the same rows under the same number of prompts.
    """
    draws = []
    for pair in pairs:
        pro, anti = (_by_row(cell.credits) for cell in pair)
        if pro.example_ids != anti.example_ids or len(pro.tasks) != len(anti.tasks):
            return None
        drawn = bootstrap.prompt_replicates([pro, anti], seed=seed)  # the same for all runs
        first, second = (_STATISTICS[statistic](scores) for scores in drawn)
        draws.append(first - second)
    return bootstrap.percentile_interval(np.mean(draws, axis=0))


def _by_row(credits: DatasetCredits) -> DatasetCredits:
    """The same under the rows' numbers, which the two forms of a sentence share."""
    rows = [example_id.rsplit("/", 1)[1] for example_id in credits.example_ids]
    order = np.argsort(rows, kind="stable")
    return DatasetCredits(
        dataset=credits.dataset.rpartition("_")[0],
        tasks=credits.tasks,
        example_ids=tuple(rows[i] for i in order),
        sums=credits.sums[order],
        counts=credits.counts[order],
    )


def _details(names: Mapping[str, str], found: Sequence[_ByDataset]) -> str:
    parts = []
    for label, name in names.items():
        cell = next((cell for by in found for cell in by.get(label, ())), None)
        if cell is not None:
            chance = f", chance {percent(cell.baseline)}" if cell.results[0].mode == "rank" else ""
            rows = len(cell.credits.example_ids)
            parts.append(f"{name}: {len(cell.results)} prompts, {rows:,} rows{chance}")
    return f"{'; '.join(parts)}."


def _figures(keys: Sequence[tuple[str, str]]) -> list[PublishedFigure]:
    return [f for f in published_figures() if f.confirmed and (f.dataset, f.statistic) in keys]


def _published(keys: Sequence[tuple[str, str]]) -> list[BiasRow]:
    by_model: dict[str, dict[tuple[str, str], float]] = {}
    for figure in _figures(keys):
        by_model.setdefault(figure.model, {})[figure.dataset, figure.statistic] = figure.value
    return [
        BiasRow(model, None, tuple(percent(own[key]) if key in own else ABSENT for key in keys))
        for model, own in by_model.items()
    ]


def _sources(keys: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(figure.source for figure in _figures(keys)))
