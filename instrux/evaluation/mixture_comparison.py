"""Models tuned from one base on several mixtures, beside the base and beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instrux.errors import InputError
from instrux.evaluation.compare import Arm, Comparison, Estimate, compare
from instrux.evaluation.metrics import REFERENCE_FREE
from instrux.evaluation.predictions import Prediction
from instrux.evaluation.results import Interval
from instrux.evaluation.runs import EvaluatedRun

SHOWN_PROMPTS = 4


@dataclass(frozen=True)
class ModelCell:
    """How one model does in one row.

    Attributes:
        score: percent, with its interval.
        gain: over the base, paired; None for the base itself.
    """

    score: Estimate
    gain: Estimate | None

    @property
    def mark(self) -> str:
        """`+` or `-` where the interval of the gain, as it is printed, leaves out 0."""
        if self.gain is None:
            return " "
        low, high = self.gain.interval.low, self.gain.interval.high
        return "+" if round(low, 1) > 0 else "-" if round(high, 1) < 0 else " "


@dataclass(frozen=True)
class ComparisonRow:
    """One group of prompts, or one dataset of it.

    Attributes:
        label: what it is.
        metric: the headline metric.
        baseline: what no understanding gets; None under a metric without references.
        num_prompts: prompts.
        num_examples: different examples.
        cells: one a model, the base first.
    """

    label: str
    metric: str
    baseline: float | None
    num_prompts: int
    num_examples: int
    cells: tuple[ModelCell, ...]


@dataclass(frozen=True)
class Budget:
    """What a model was trained on.

    Attributes:
        name: the model.
        mixture: its mixture.
        tasks: of the mixture.
        examples: different ones that were packed.
        steps: of its checkpoint.
        tokens: that the steps took, padding not counted: inputs and targets.
        last_loss: the last that was logged; losses of different mixtures are not comparable.
    """

    name: str
    mixture: str
    tasks: int
    examples: int
    steps: int
    tokens: float
    last_loss: float


@dataclass(frozen=True)
class ShownPrompt:
    """A prompt, a person's answer to it (or ""), and each model's."""

    prompt: str
    reference: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class MixtureComparison:
    """All that the page shows.

    Attributes:
        names: of the models, the base first.
        groups: a row a group.
        datasets: for each group its datasets' rows.
        sentences: what was found, one sentence a group.
        budgets: of the models whose packed data is known.
        shown: some open prompts with every model's answer.
        notes: what was looked for and is missing.
    """

    names: tuple[str, ...]
    groups: tuple[ComparisonRow, ...]
    datasets: tuple[tuple[ComparisonRow, ...], ...]
    sentences: tuple[str, ...]
    budgets: tuple[Budget, ...]
    shown: tuple[ShownPrompt, ...]
    notes: tuple[str, ...]


def compare_mixtures(
    base: EvaluatedRun, tuned: Sequence[EvaluatedRun], *, batch_size: int, seed: int = 0
) -> MixtureComparison:
    """Compares the tuned models with the base and with each other, on what all were evaluated on.

    Args:
        base: the model before any tuning.
        tuned: the models made of it.
        batch_size: packed rows of a step.
        seed: of the bootstrap's draws and of the prompts shown.

    Raises:
        InputError: there is no prompt that all were evaluated on.
    """
    runs = [base, *tuned]
    arms = [Arm(run.about.name, run.about.role, run.about.axis, None, (run,)) for run in runs]
    rows, datasets, sentences = [], [], []
    for group, metric in _groups(base):
        keys = [key for key in base.cells if key[1:] == (group, metric)]
        found = compare(arms, keys, seed=seed)
        if found is None:
            continue
        rows.append(_row(group or "evaluated prompts", found))
        singles = [(key[0], compare(arms, [key], seed=seed)) for key in keys]
        datasets.append(tuple(_row(label, one) for label, one in singles if one is not None))
        sentences.append(_sentence(rows[-1], arms, keys, seed))
    if not rows:
        raise InputError("compare: there is no prompt that all runs were evaluated on.")
    return MixtureComparison(
        names=tuple(arm.name for arm in arms),
        groups=tuple(rows),
        datasets=tuple(datasets),
        sentences=tuple(sentences),
        budgets=tuple(budget for run in runs if (budget := _budget(run, batch_size)) is not None),
        shown=tuple(_shown(runs, seed)),
        notes=tuple(note for run in runs for note in run.notes),
    )


def _groups(base: EvaluatedRun) -> list[tuple[str, str]]:
    """Held-out groups first, then those with an answer to compare with."""
    found = list(dict.fromkeys(key[1:] for key in base.cells))
    return sorted(found, key=lambda g: (not g[0].startswith("held-out"), g[1] in REFERENCE_FREE))


def _row(label: str, found: Comparison) -> ComparisonRow:
    return ComparisonRow(
        label=label,
        metric=found.metric,
        baseline=None if found.metric in REFERENCE_FREE else found.baseline,
        num_prompts=found.num_prompts,
        num_examples=found.num_examples,
        cells=tuple(ModelCell(each.score, _turned(each.lead)) for each in found.scores),
    )


def _turned(lead: Estimate | None) -> Estimate | None:
    """The base's lead over a model, as that model's gain over the base."""
    if lead is None:
        return None
    low, high = 0.0 - lead.interval.high, 0.0 - lead.interval.low  # 0.0 - 0.0 has no sign
    return Estimate(0.0 - lead.value, Interval(low, high))


def _sentence(row: ComparisonRow, arms: Sequence[Arm], keys: Sequence, seed: int) -> str:
    """Who is ahead of the base, and whether the best is ahead of the others, by the intervals."""
    tuned = list(range(1, len(arms)))
    ahead = [arms[i].name for i in tuned if row.cells[i].mark == "+"]
    behind = [arms[i].name for i in tuned if row.cells[i].mark == "-"]
    told = [
        *([f"above the base: {_listed(ahead)}"] if ahead else []),
        *([f"below it: {_listed(behind)}"] if behind else []),
    ] or ["no mixture is told apart from the base"]
    if row.baseline is not None:
        told.append(_against_baseline(row, [arm.name for arm in arms]))
    best = max(tuned, key=lambda i: row.cells[i].score.value, default=0)
    others = [arms[i] for i in tuned if i != best]
    found = compare([arms[best], *others], keys, seed=seed) if others else None
    if found is not None:
        beaten = [s.arm.name for s in found.scores[1:] if s.lead and s.lead.interval.low > 0]
        rest = [s.arm.name for s in found.scores[1:] if s.arm.name not in beaten]
        highest = f"the highest of the mixtures, {arms[best].name}, is"
        parts = [
            *([f"above {_listed(beaten)}"] if beaten else []),
            *([f"not told apart from {_listed(rest)}"] if rest else []),
        ]
        told.append(f"{highest} {' and '.join(parts)}")
    return f"{row.label} ({row.metric}): {'; '.join(told)}."


def _against_baseline(row: ComparisonRow, names: Sequence[str]) -> str:
    """Who does better than no understanding would, by the intervals."""
    assert row.baseline is not None
    above = [
        name
        for name, cell in zip(names, row.cells, strict=True)
        if cell.score.interval.low > row.baseline
    ]
    told = f"above what no understanding gets ({row.baseline:.1f})"
    return f"{told}: {_listed(above)}" if above else f"no model is {told}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _budget(run: EvaluatedRun, batch_size: int) -> Budget | None:
    pack = run.pack
    if pack is None:
        return None
    a_row = pack.tokens_a_row
    last = run.curve[-1] if run.curve else None
    return Budget(
        name=run.about.name,
        mixture=str(pack.settings.get("mixture", "")),
        tasks=len(pack.tasks),
        examples=sum(min(task.examples, task.available) for task in pack.tasks),
        steps=run.results.step,
        tokens=a_row * batch_size * run.results.step,
        last_loss=float("nan") if last is None else last.loss,
    )


def _shown(runs: Sequence[EvaluatedRun], seed: int) -> list[ShownPrompt]:
    """Drawn prompts of the groups that are not ranked and called no held-out ones."""
    tasks = [
        result.task
        for result in runs[0].results.tasks
        if result.mode == "generate" and not result.group.startswith("held-out")
    ]
    shown = []
    for task in tasks:
        by_run = [_by_id(run, task) for run in runs]
        common = sorted(set.intersection(*(set(found) for found in by_run)))
        rng = np.random.default_rng([seed, len(common)])
        places = rng.permutation(len(common))[: max(1, SHOWN_PROMPTS // len(tasks))]
        for example in (common[place] for place in sorted(places)):
            first = by_run[0][example]
            reference = "" if first.targets == "<NO LABEL>" else first.targets
            answers = tuple(found[example].prediction for found in by_run)
            shown.append(ShownPrompt(first.inputs, reference, answers))
    return shown


def _by_id(run: EvaluatedRun, task: str) -> dict[str, Prediction]:
    if all(result.task != task for result in run.results.tasks):
        return {}
    return {each.example_id: each for each in run.predictions(task)}
