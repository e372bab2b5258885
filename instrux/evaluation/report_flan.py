"""The report's section on FLAN's table: a row a dataset, by cluster, with published figures beside.

As in the paper's appendix (arXiv 2109.01652, section 3 and its tables): the mean over the templates
that ask for the usual answer, its standard deviation, and the score of the template that was best on
the dev rows, which are no test rows.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from instrux.evaluation.compare import Arm
from instrux.evaluation.drawing import INK, MUTED, Drawing, arm_style, draw, plain
from instrux.evaluation.published_flan import (
    TAGS,
    PublishedAblation,
    PublishedFlan,
    published_ablations,
    published_flan,
)
from instrux.evaluation.report_tables import ABSENT, percent
from instrux.evaluation.results import TaskResult
from instrux.evaluation.runs import EvaluatedRun

PUBLISHED_COLUMNS = (
    ("GPT-3 175B", "zero-shot"),
    ("GPT-3 175B", "few-shot"),
    ("FLAN 137B", "mean"),
    ("FLAN 137B", "best dev"),
    ("FLAN 137B", "few-shot best dev"),
)
WHOLE_SET_METRICS = ("answer_f1", "question_exact_match", "bleu")
"""Metrics of the paper's tables that no example has for itself; they get rows of their own."""
_ROW_HEIGHT = 0.3


@dataclass(frozen=True)
class TemplateScores:
    """An arm's scores on a dataset, percent.

    Attributes:
        mean: mean over templates, mean over seeds.
        deviation: their standard deviation (of a sample), mean over seeds; None for one template.
        best_dev: score of the template that is best on the dev rows, mean over seeds; None without
            dev rows.
        chosen: names of the tasks that were chosen by the dev rows, one a seed.
    """

    mean: float
    deviation: float | None
    best_dev: float | None
    chosen: tuple[str, ...]


@dataclass(frozen=True)
class FlanRow:
    """A dataset, or the mean of a cluster's datasets.

    Attributes:
        name: its label; of a mean, the cluster's name.
        cluster: its cluster.
        metric: what is measured.
        num_templates: templates that ask for the usual answer.
        num_rows: test rows.
        baseline: what no understanding gets; None where that was not computed.
        arms: one an arm; None where it was not evaluated.
        published: one for each of `PUBLISHED_COLUMNS`; None where there is no confirmed figure.
        is_mean: whether it is a cluster's mean.
    """

    name: str
    cluster: str
    metric: str
    num_templates: int
    num_rows: int
    baseline: float | None
    arms: tuple[TemplateScores | None, ...]
    published: tuple[PublishedFlan | None, ...]
    is_mean: bool = False

    @property
    def own_cells(self) -> list[tuple[str, str]]:
        """Mean with deviation, and best on the dev rows, as text, for each arm."""
        made = []
        for scores in self.arms:
            if scores is None:
                made.append((ABSENT, ABSENT))
                continue
            spread = "" if scores.deviation is None else f" ± {scores.deviation:.1f}"
            best = ABSENT if scores.best_dev is None else percent(scores.best_dev)
            made.append((percent(scores.mean) + spread, best))
        return made

    @property
    def baseline_cell(self) -> str:
        """The baseline as text."""
        return ABSENT if self.baseline is None else f"{self.baseline:.1f}"

    @property
    def published_cells(self) -> list[tuple[str, str]]:
        """Value and tag as text, for each of `PUBLISHED_COLUMNS`."""
        return [(ABSENT, "") if p is None else (f"{p.value:.1f}", p.tag) for p in self.published]


@dataclass(frozen=True)
class FlanSection:
    """FLAN's table in a report.

    Attributes:
        rows: datasets by cluster, each cluster's mean after its datasets.
        arms: names of the arms.
        others: confirmed figures that stand beside nothing here, for want of a dataset or a metric.
        ablations: confirmed figures of the paper's ablations.
        drawing: the table as a figure.
    """

    rows: tuple[FlanRow, ...]
    arms: tuple[str, ...]
    others: tuple[PublishedFlan, ...]
    ablations: tuple[PublishedAblation, ...]
    drawing: Drawing

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Model and statistic of the published columns."""
        return PUBLISHED_COLUMNS

    @property
    def tags(self) -> dict[str, str]:
        """What the tags mean."""
        return TAGS

    def csv(self) -> bytes:
        """The table as CSV, in full precision."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        own = ("mean", "standard deviation", "best dev", "chosen by the dev rows")
        writer.writerow(
            ["cluster", "dataset", "metric", "templates", "rows", "baseline"]
            + [f"{arm}: {name}" for arm in self.arms for name in own]
            + [f"published {model}: {statistic}" for model, statistic in PUBLISHED_COLUMNS]
        )
        for row in self.rows:
            name = "(mean)" if row.is_mean else row.name
            baseline = "" if row.baseline is None else row.baseline
            first = [row.cluster, name, row.metric, row.num_templates, row.num_rows, baseline]
            writer.writerow(
                first
                + [value for scores in row.arms for value in _csv_values(scores)]
                + ["" if p is None else f"{p.value:.1f} [{p.tag}]" for p in row.published]
            )
        return text.getvalue().encode()


def _csv_values(scores: TemplateScores | None) -> list[float | str]:
    if scores is None:
        return ["", "", "", ""]
    known = (scores.mean, scores.deviation, scores.best_dev)
    return [*("" if value is None else value for value in known), " ".join(scores.chosen)]


def flan_section(arms: Sequence[Arm]) -> FlanSection | None:
    """Gives the section, or None where no run has dev rows to choose a template by."""
    if not any(run.dev for arm in arms for run in arm.runs):
        return None
    datasets = _datasets(arms)
    rows: list[FlanRow] = []
    for cluster in dict.fromkeys(cluster for cluster, *_ in datasets):
        own = [_row(arms, *each) for each in datasets if each[0] == cluster]
        rows += own
        rows += _means(cluster, own)
    beside = {figure for row in rows for figure in row.published if figure is not None}
    return FlanSection(
        rows=tuple(rows),
        arms=tuple(arm.name for arm in arms),
        others=tuple(figure for figure in published_flan() if figure not in beside),
        ablations=published_ablations(),
        drawing=_drawing(rows, arms),
    )


def _datasets(arms: Sequence[Arm]) -> list[tuple[str, str, str, str]]:
    """(cluster, dataset, headline metric, metric of the row) of all evaluated, clusters together."""
    found = dict.fromkeys(
        (cell.cluster, cell.dataset, cell.metric, metric)
        for arm in arms
        for run in arm.runs
        for cell in run.cells.values()
        for metric in (cell.metric, *_whole_set_metrics(cell.results))
    )
    order = list(dict.fromkeys(cluster for cluster, *_ in found))
    return sorted(found, key=lambda each: order.index(each[0]))


def _whole_set_metrics(results: Sequence[TaskResult]) -> list[str]:
    asked = [result for result in results if result.original_task]
    return [
        metric
        for metric in WHOLE_SET_METRICS
        if asked and all(metric in result.metrics for result in asked)
    ]


def _row(arms: Sequence[Arm], cluster: str, dataset: str, headline: str, metric: str) -> FlanRow:
    by_arm = [[_results(run, dataset, headline) for run in arm.runs] for arm in arms]
    present = next(results for runs in by_arm for results in runs if results)
    baseline = float(np.mean([result.baseline for result in present]))
    return FlanRow(
        name=dataset,
        cluster=cluster,
        metric=metric,
        num_templates=len(present),
        num_rows=max(result.num_examples for result in present),
        baseline=baseline if metric == headline else None,
        arms=tuple(
            _scores(list(zip(arm.runs, runs, strict=True)), metric)
            for arm, runs in zip(arms, by_arm, strict=True)
        ),
        published=tuple(_published(dataset, metric, *column) for column in PUBLISHED_COLUMNS),
    )


def _results(run: EvaluatedRun, dataset: str, metric: str) -> list[TaskResult]:
    return [
        result
        for cell in run.cells.values()
        if (cell.dataset, cell.metric) == (dataset, metric)
        for result in cell.results
        if result.original_task
    ]


def _scores(
    runs: Sequence[tuple[EvaluatedRun, list[TaskResult]]], metric: str
) -> TemplateScores | None:
    runs = [(run, results) for run, results in runs if results]
    if not runs:
        return None
    chosen = [_chosen(run, results, metric) for run, results in runs]
    known = [each for each in chosen if each is not None]
    scores = [[_value(result, metric) for result in results] for _, results in runs]
    several = all(len(each) > 1 for each in scores)
    return TemplateScores(
        mean=float(np.mean([np.mean(each) for each in scores])),
        deviation=float(np.mean([np.std(each, ddof=1) for each in scores])) if several else None,
        best_dev=float(np.mean([_value(each, metric) for each in known]))
        if len(known) == len(runs)
        else None,
        chosen=tuple(each.task for each in known),
    )


def _value(result: TaskResult, metric: str) -> float:
    """A metric's value, not a number where the task was evaluated without it."""
    return result.score if metric == result.metric else result.metrics.get(metric, float("nan"))


def _chosen(run: EvaluatedRun, results: Sequence[TaskResult], metric: str) -> TaskResult | None:
    """The result of the template that is best on the dev rows, the first of equals."""
    asked_of = [each for each in run.dev.tasks if each.num_examples] if run.dev else []
    dev = {each.task: _value(each, metric) for each in asked_of}
    asked = [result for result in results if result.task in dev]
    return max(asked, key=lambda result: dev[result.task]) if asked else None


def _published(dataset: str, metric: str, model: str, statistic: str) -> PublishedFlan | None:
    return next(
        (
            each
            for each in published_flan()
            if (each.dataset, each.metric, each.model, each.statistic)
            == (dataset, metric, model, statistic)
            and not each.note
        ),
        None,
    )


def _means(cluster: str, rows: Sequence[FlanRow]) -> list[FlanRow]:
    """A row for the mean of a cluster's datasets, for each metric that several of them share."""
    made = []
    for metric in dict.fromkeys(row.metric for row in rows):
        own = [row for row in rows if row.metric == metric]
        if len(own) > 1:
            made.append(_mean_row(cluster, metric, own))
    return made


def _mean_row(cluster: str, metric: str, rows: Sequence[FlanRow]) -> FlanRow:
    baselines = [row.baseline for row in rows if row.baseline is not None]
    return FlanRow(
        name=f"mean of {len(rows)}",
        cluster=cluster,
        metric=metric,
        num_templates=sum(row.num_templates for row in rows),
        num_rows=sum(row.num_rows for row in rows),
        baseline=float(np.mean(baselines)) if len(baselines) == len(rows) else None,
        arms=tuple(
            _mean_scores(scores) for scores in zip(*(row.arms for row in rows), strict=True)
        ),
        published=(None,) * len(PUBLISHED_COLUMNS),
        is_mean=True,
    )


def _mean_scores(scores: Sequence[TemplateScores | None]) -> TemplateScores | None:
    """The mean over datasets; None where an arm lacks one of them."""
    known = [each for each in scores if each is not None]
    if len(known) < len(scores):
        return None
    deviations = [each.deviation for each in known if each.deviation is not None]
    best = [each.best_dev for each in known if each.best_dev is not None]
    return TemplateScores(
        mean=float(np.mean([each.mean for each in known])),
        deviation=float(np.mean(deviations)) if len(deviations) == len(known) else None,
        best_dev=float(np.mean(best)) if len(best) == len(known) else None,
        chosen=(),
    )


def _drawing(rows: Sequence[FlanRow], arms: Sequence[Arm]) -> Drawing:
    shown = [row for row in rows if not row.is_mean]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for number, row in enumerate(shown):
            _paint_row(axes, row, number)
        _label_rows(axes, shown)
        axes.set_xlim(-1, 101)
        axes.set_xlabel("test rows, %: mean over templates ± standard deviation")
        axes.grid(axis="x")
        figure.legend(handles=_handles(axes, arms), loc="outside lower center", ncols=3)

    said = "; ".join(
        f"{_named(row)}: {', '.join(mean for mean, _ in row.own_cells)}" for row in shown
    )
    alt = f"FLAN's table, a row a dataset, by cluster; mean over templates. {said}."
    height = 1.5 + _ROW_HEIGHT * (len(shown) + len({row.cluster for row in shown}))
    return draw("flan", alt, paint, width=8.5, height=height)


def _named(row: FlanRow) -> str:
    return f"{row.name}, {row.metric}" if row.metric in WHOLE_SET_METRICS else row.name


def _paint_row(axes: Axes, row: FlanRow, number: int) -> None:
    step = 0.6 / max(1, len(row.arms))
    if row.baseline is not None:
        axes.plot([row.baseline], [number], ls="", marker="|", ms=12, mew=1.5, color=MUTED)
    for place, scores in enumerate(row.arms):
        if scores is None:
            continue
        height = number + (place - (len(row.arms) - 1) / 2) * step
        style = arm_style(place)
        axes.errorbar(
            [scores.mean], [height], xerr=[scores.deviation or 0.0], ms=6, lw=1.6, **style
        )
        if scores.best_dev is not None:
            axes.plot(
                [scores.best_dev],
                [height],
                ls="",
                marker="*",
                ms=13,
                mfc="none",
                mec=style["color"],
            )
    published = row.published[2]
    if published is not None:
        axes.plot([published.value], [number], ls="", marker="D", ms=6, mfc="none", mec=INK)


def _label_rows(axes: Axes, rows: Sequence[FlanRow]) -> None:
    axes.set_yticks(range(len(rows)), [plain(_named(row)) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    for number, row in enumerate(rows):
        first = number == 0 or rows[number - 1].cluster != row.cluster
        if first:
            axes.axhline(number - 0.5, color=MUTED, lw=0.8)
            axes.annotate(
                plain(row.cluster.replace("_", " ")),
                (1.01, number),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=9,
                color=MUTED,
            )


def _handles(axes: Axes, arms: Sequence[Arm]) -> list:
    def sign(label: str, **style: object):
        return axes.plot([], [], ls="", label=label, **style)[0]  # type: ignore[arg-type]

    return [
        *(sign(plain(arm.name), ms=6, **arm_style(n)) for n, arm in enumerate(arms)),
        sign("template best on dev rows", marker="*", ms=12, mfc="none", mec=MUTED),
        sign("chance or most frequent answer", marker="|", ms=10, mew=1.5, color=MUTED),
        sign("FLAN 137B, published mean", marker="D", ms=6, mfc="none", mec=INK, color=INK),
    ]
