"""The report: one self-contained HTML page, and its figures as PNG files beside it.

The page holds no script and asks the network for nothing. All text goes through a template that
escapes it, since inputs and predictions are whatever a dataset or a model made them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from instrux.data.files import remove_partial_files, write_atomically
from instrux.data.packed_manifest import PackManifest
from instrux.errors import InputError
from instrux.evaluation import plots, training_plots
from instrux.evaluation.compare import Arm, CellKey, Comparison, arms, compare_groups
from instrux.evaluation.drawing import ARM_COLOURS, Drawing
from instrux.evaluation.plots import AblationPoint, Level, PromptScores
from instrux.evaluation.report_bias import bias_tables
from instrux.evaluation.report_examples import ShownExample, shown_examples
from instrux.evaluation.report_flan import FlanSection, flan_section
from instrux.evaluation.report_held_out import held_out_section
from instrux.evaluation.report_public import MODEL_NAMES, public_rows
from instrux.evaluation.report_robustness import robustness_tables
from instrux.evaluation.report_tables import (
    PromptRow,
    all_keys,
    compare_datasets,
    coverage,
    dataset_tables,
    interquartile_range,
    prompt_rows,
    training_rows,
)
from instrux.evaluation.runs import EvaluatedRun
from instrux.evaluation.selection_plot import SelectionSection, selection_section
from instrux.evaluation.verdict import GAIN, LOSS, UNCLEAR, Verdict, ablation_sentence, judge

_MOST_ROWS = 40
"""A figure of prompts with more datasets than this shows clusters instead."""
_SIGNS = {GAIN: "✓", LOSS: "✗", UNCLEAR: "?"}


@dataclass(frozen=True)
class Report:
    """A finished report.

    Attributes:
        html: the page.
        drawings: its figures.
        verdict: what its first lines say.
        arms: the kinds of run that it compares.
        comparisons: the numbers behind the verdict.
        flan: FLAN's table, where templates are chosen by dev rows.
    """

    html: str
    drawings: tuple[Drawing, ...]
    verdict: Verdict
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    flan: FlanSection | None = None


@dataclass(frozen=True)
class PromptFigure:
    """A figure of prompts with its heading."""

    title: str
    drawing: Drawing
    caption: str


@dataclass(frozen=True)
class AblationSection:
    """Scores against what is varied, such as training prompts, in one group."""

    title: str
    axis: str
    sentence: str | None
    drawing: Drawing


@dataclass(frozen=True)
class MixtureSection:
    """One packed dataset."""

    title: str
    summary: str
    drawing: Drawing


@dataclass(frozen=True)
class DatasetSection:
    """The prompts of one dataset, and examples."""

    title: str
    detail: str
    prompts: tuple[PromptRow, ...]
    examples: tuple[ShownExample, ...]


def build_report(runs: Sequence[EvaluatedRun], *, title: str, seed: int = 0) -> Report:
    """Puts a report together.

    Args:
        runs: what to show; with a single one there is nothing to compare it with but chance.
        title: the page's heading.
        seed: of the bootstrap's draws and of the examples shown.

    Raises:
        InputError: there is no run.
    """
    if not runs:
        raise InputError("report: no runs; give at least one RunForReport.")
    all_arms = arms(runs)
    comparisons = compare_groups(all_arms, seed=seed)
    by_dataset = compare_datasets(all_arms, seed=seed)
    verdict = judge(comparisons)
    groups = list(dict.fromkeys((key[1], key[2]) for key in all_keys(all_arms)))
    groups.sort(key=lambda group: _place(group, comparisons))
    overview = plots.overview(comparisons, all_arms) if comparisons else None
    figures = [_prompt_figure(all_arms, number, *group) for number, group in enumerate(groups)]
    ablations = _ablations(all_arms, comparisons)
    flan = flan_section(all_arms)
    # The same datasets under T0's name would say the same twice.
    held_out = None if flan else held_out_section(all_arms)
    curves = _curves(all_arms)
    mixtures = _mixtures(runs)
    selections = _selections(runs)
    names = [arm.name for arm in all_arms]
    reference = next((c.reference.arm.name for c in comparisons if c.reference), None)
    drawings = [
        overview,
        held_out.drawing if held_out else None,
        flan.drawing if flan else None,
        *(a.drawing for a in ablations),
        *(f.drawing for f in figures),
        curves,
        *(selection.drawing for selection in selections),
    ]
    drawings += [mixture.drawing for mixture in mixtures]
    html = _template().render(
        title=title,
        colours=ARM_COLOURS,
        signs=_SIGNS,
        verdict=verdict,
        overview=overview,
        cautions=[*_cautions(runs), *_coverage_cautions(all_arms)],
        ablations=ablations,
        held_out=held_out,
        flan=flan,
        prompt_figures=figures,
        bias=bias_tables(all_arms, seed=seed),
        public=public_rows(all_arms),
        public_models=MODEL_NAMES,
        robustness=robustness_tables(all_arms, comparisons, by_dataset, seed=seed),
        tables=dataset_tables(all_arms, groups, by_dataset),
        arm_names=names,
        reference_name=reference,
        columns=5 + 4 * len(names),
        training=training_rows(all_arms),
        curves=curves,
        selections=selections,
        mixtures=mixtures,
        datasets=[_dataset_section(all_arms, key, seed) for key in all_keys(all_arms)],
        settings=[_settings(run) for run in runs],
        notes=[note for run in runs for note in run.notes],
    )
    found = tuple(drawing for drawing in drawings if drawing is not None)
    return Report(html, found, verdict, tuple(all_arms), tuple(comparisons), flan)


def write_report(report: Report, path: Path) -> None:
    """Writes the page, and each figure as `<page's stem>_<figure>.png` beside it.

    FLAN's table is `<page's stem>_flan.csv` as well.
    """
    remove_partial_files(path.parent, prefix=path.stem)
    if report.flan is not None:
        write_atomically(path.parent / f"{path.stem}_flan.csv", [report.flan.csv()])
    for drawing in report.drawings:
        write_atomically(path.parent / f"{path.stem}_{drawing.name}.png", [drawing.png])
    write_atomically(path, [report.html.encode(errors="replace")])


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html")


def _place(group: tuple[str, str], comparisons: Sequence[Comparison]) -> int:
    known = [(comparison.group, comparison.metric) for comparison in comparisons]
    return known.index(group) if group in known else len(known)


def _prompt_figure(all_arms: Sequence[Arm], number: int, group: str, metric: str) -> PromptFigure:
    keys = [key for key in all_keys(all_arms) if key[1:] == (group, metric)]
    by_cluster = len(keys) > _MOST_ROWS
    rows: dict[str, list[CellKey]] = {}
    for key in keys:
        rows.setdefault(_first_cell(all_arms, key).cluster if by_cluster else key[0], []).append(
            key
        )
    title = _heading(group, metric)
    modes = {r.mode for key in keys for r in _first_cell(all_arms, key).results}
    drawing = plots.prompts(
        f"prompts_{number}",
        title,
        [
            _prompt_scores(all_arms, label or "no cluster", members)
            for label, members in rows.items()
        ],
        all_arms,
        metric=metric,
        baseline_name="chance" if modes == {"rank"} else "chance or the most frequent answer",
    )
    seeds = any(len(arm.runs) > 1 for arm in all_arms)
    caption = (
        f"A mark is a prompt{' (its mean over seeds)' if seeds else ''}, a box holds the middle half of"
        f" a {'cluster' if by_cluster else 'dataset'}'s prompts, the thick line is their median."
    )
    return PromptFigure(title, drawing, caption)


def _first_cell(all_arms: Sequence[Arm], key: CellKey):
    return next(run.cells[key] for arm in all_arms for run in arm.runs if key in run.cells)


def _prompt_scores(all_arms: Sequence[Arm], label: str, keys: Sequence[CellKey]) -> PromptScores:
    cells = [_first_cell(all_arms, key) for key in keys]
    prompts = sum(len(cell.results) for cell in cells)
    examples = sum(len(cell.credits.example_ids) for cell in cells)
    return PromptScores(
        label=label,
        detail=f"{_plural(prompts, 'prompt')}, {_plural(examples, 'example')}",
        scores=tuple(
            tuple(score for key in keys for score in _scores_over_seeds(arm, key))
            for arm in all_arms
        ),
        baseline=float(np.mean([cell.baseline for cell in cells])),
    )


def _scores_over_seeds(arm: Arm, key: CellKey) -> list[float]:
    """Each prompt's score in an arm: the mean over its runs."""
    found: dict[str, list[float]] = {}
    for run in arm.runs:
        for result in run.cells[key].results if key in run.cells else ():
            found.setdefault(result.task, []).append(result.score)
    return [float(np.mean(scores)) for scores in found.values()]


def _ablations(all_arms: Sequence[Arm], comparisons: Sequence[Comparison]) -> list[AblationSection]:
    """A figure for each held-out group (or each group) where runs differ in what is varied."""
    lines = _varied_roles(all_arms)
    if not lines:
        return []
    held_out = [c for c in comparisons if c.group.startswith("held-out")]
    return [
        AblationSection(
            title=_heading(comparison.group, comparison.metric),
            axis=next(arm.axis for arm in all_arms if arm.point is not None),
            sentence=ablation_sentence(comparison),
            drawing=_ablation(all_arms, comparison, lines, number),
        )
        for number, comparison in enumerate(held_out or comparisons)
    ]


def _varied_roles(all_arms: Sequence[Arm]) -> list[str]:
    """Roles whose arms stand at several places of what is varied, each a line of the figure."""
    places: dict[str, set[float]] = {}
    for arm in all_arms:
        if arm.point is not None:
            places.setdefault(arm.role, set()).add(arm.point)
    return [role for role, found in places.items() if len(found) > 1]


def _heading(group: str, metric: str) -> str:
    title = group or "evaluated prompts"
    return title[0].upper() + title[1:] + ("" if metric == "accuracy" else f", {metric}")


def _ablation(
    all_arms: Sequence[Arm], comparison: Comparison, lines: Sequence[str], number: int
) -> Drawing:
    points, levels = (
        [],
        [Level(comparison.baseline_name.rstrip(","), comparison.baseline, None, None)],
    )
    for score in comparison.scores:
        arm = score.arm
        spreads = [_spread(run, comparison) for run in arm.runs]
        if arm.role in lines and arm.point is not None:
            points += [
                AblationPoint(arm.point, median, spread, arm.role if len(lines) > 1 else "")
                for median, spread in zip(score.by_seed, spreads, strict=True)
            ]
        else:
            spread = float(np.mean(spreads))
            levels.append(Level(arm.name, score.score.value, spread, all_arms.index(arm)))
    title = comparison.group or "evaluated prompts"
    axis = next(arm.axis for arm in all_arms if arm.point is not None)
    return plots.ablation(
        f"ablation_{number}", title, points, levels, metric=comparison.metric, axis=axis
    )


def _spread(run: EvaluatedRun, comparison: Comparison) -> float:
    """Mean over the comparison's datasets of the interquartile range over prompts."""
    keys = [(dataset, comparison.group, comparison.metric) for dataset in comparison.datasets]
    return float(np.mean([interquartile_range(run.cells[key].scores) for key in keys]))


def _curves(all_arms: Sequence[Arm]) -> Drawing | None:
    found = [
        training_plots.Curve(run.about.name, arm.name, number, run.curve)
        for number, arm in enumerate(all_arms)
        for whole in arm.runs
        for run in whole.trained
        if run.curve
    ]
    return training_plots.curves(found) if found else None


def _selections(runs: Sequence[EvaluatedRun]) -> list[SelectionSection]:
    """Where a scorer chose among several checkpoints of a run."""
    return [
        selection_section(run.about.name, number, run.selected)
        for number, run in enumerate(runs)
        if run.selected is not None
        and len(run.selected.scores) > 1
        and (run.selected.losses or run.selected.steps_per_epoch)
    ]


def _mixtures(runs: Sequence[EvaluatedRun]) -> list[MixtureSection]:
    packs: dict[str, tuple[PackManifest, list[str]]] = {}
    for run in runs:
        if run.pack is not None and run.pack_folder is not None:
            packs.setdefault(run.pack_folder, (run.pack, []))[1].append(run.about.name)
    made = []
    for number, (manifest, names) in enumerate(packs.values()):
        listed = ", ".join(names)
        made.append(
            MixtureSection(
                title=f"{manifest.settings.get('mixture', 'mixture')}: {listed}",
                summary=_mixture_summary(manifest),
                drawing=training_plots.mixture(f"mixture_{number}", listed, manifest),
            )
        )
    return made


def _mixture_summary(manifest: PackManifest) -> str:
    cut = sum(task.inputs_truncated for task in manifest.tasks)
    most = max(manifest.tasks, key=lambda task: task.epochs)
    return (
        f"{manifest.examples:,} examples of {_plural(len(manifest.tasks), 'task')} in"
        f" {manifest.rows:,} packed rows; {manifest.filled}; {manifest.gap:.1%} more rows than the lower bound. {_plural(cut, 'input')} cut."
        f" Most often repeated: {most.name}, {most.epochs:.1f} times."
    )


def _dataset_section(all_arms: Sequence[Arm], key: CellKey, seed: int) -> DatasetSection:
    dataset, group, metric = key
    cell = _first_cell(all_arms, key)
    detail = ", ".join(
        part for part in (group, metric, cell.cluster, _plural(len(cell.results), "prompt")) if part
    )
    return DatasetSection(
        dataset,
        detail,
        tuple(prompt_rows(all_arms, key)),
        tuple(shown_examples(all_arms, key, seed=seed)),
    )


def _cautions(runs: Sequence[EvaluatedRun]) -> list[str]:
    """What was not as it should be in the data evaluated."""
    tasks = [result for run in runs for result in run.results.tasks]
    examples = sum(result.num_examples for result in tasks)
    without = sum(result.num_without_correct_choice for result in tasks)
    cut = sum(result.num_truncated_inputs for result in tasks)
    said = []
    if without:
        said.append(
            f"{without:,} of {examples:,} evaluations have no correct choice to rank, and count as wrong."
        )
    if cut:
        said.append(
            f"{cut:,} of {examples:,} evaluations had their inputs cut to the model's length."
        )
    for run in runs:
        said += _selection_cautions(run)
    if empty := sorted({result.task for result in tasks if not result.num_examples}):
        said.append(f"Tasks without a single example are left out: {', '.join(empty)}.")
    return said


def _coverage_cautions(all_arms: Sequence[Arm]) -> list[str]:
    """Datasets of which some prompts ask about fewer rows than others (COPA's, for one)."""
    parts = []
    for key in all_keys(all_arms):
        rows = coverage(r.cells[key] for arm in all_arms for r in arm.runs if key in r.cells)
        most, least = max(rows.values()), min(rows.values())
        if fewer := sum(count < most for count in rows.values()):
            parts.append(f"{key[0]} {fewer} of {len(rows)} (down to {least:,} of {most:,} rows)")
    if not parts:
        return []
    return [
        "Some prompts apply to fewer rows than others of their dataset, and so score another set:"
        f" {'; '.join(parts)}."
    ]


def _selection_cautions(run: EvaluatedRun) -> list[str]:
    """What is wrong with how a checkpoint was chosen."""
    if run.selected is None:
        return []
    held_out = {r.task for r in run.results.tasks if r.group.startswith("held-out")}
    said = []
    same_rows = run.results.settings.get("split") == run.selected.split
    if same_rows and (seen := sorted(held_out & set(run.selected.tasks))):
        said.append(
            f"{run.about.name}: its checkpoint was chosen on {_plural(len(seen), 'task')} that"
            f" {'is' if len(seen) == 1 else 'are'} shown as held-out ({seen[0]}{', …' if seen[1:] else ''})."
        )
    if len(run.selected.scores) == 1:
        said.append(f"{run.about.name}: its checkpoint was the only one to choose from.")
    return said


def _selection_rows(run: EvaluatedRun) -> list[tuple[str, Any]]:
    if run.selected is None:
        return []
    chosen = run.selected
    scores = ", ".join(f"step {step}: {score:.2f}" for step, score in chosen.scores.items())
    return [
        (
            "checkpoint selected by",
            f"{chosen.rule} of {len(chosen.tasks)} tasks, {chosen.split}: {scores}",
        ),
        *([("left out of the selection", len(chosen.left_out))] if chosen.left_out else []),
    ]


def _settings(run: EvaluatedRun) -> dict[str, Any]:
    rows = [("folder", run.about.model_dir), ("role", run.about.role)]
    rows += [
        (name, getattr(run.about, name))
        for name in ("num_prompts", "point", "seed", "part_of")
        if getattr(run.about, name) is not None
    ]
    rows += _selection_rows(run)
    if run.pack_folder is not None:
        rows.append(("packed dataset", run.pack_folder))
    flat: dict[str, Any] = {}
    for name, value in run.results.settings.items():
        flat |= (
            {f"{name}.{k}": v for k, v in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    rows += [(name, value) for name, value in flat.items() if name != "model_dir"]
    rows += [(f"version of {name}", version) for name, version in run.results.versions.items()]
    return {"name": run.about.name, "step": run.results.step, "rows": rows}


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
