"""Everything that answers of people say, put together: `results.json` of `evaluate --labels`."""

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from instrux.data.files import write_atomically
from instrux.errors import InputError, did_you_mean
from instrux.evaluation.label_agreement import (
    Agreement,
    ComparisonAgreement,
    agreement,
    comparison_agreement,
)
from instrux.evaluation.label_flags import FLAG_OF_NAME, NOT_APPLICABLE
from instrux.evaluation.label_records import LabelRecord, latest
from instrux.evaluation.label_scales import SCALES
from instrux.evaluation.label_statistics import (
    Comparison,
    MeanRating,
    ScaleMean,
    Share,
    WinRate,
    acceptance_shares,
    by_pair,
    flag_applies,
    flag_shares,
    grouped,
    mean_ratings,
    scale_means,
    split_by,
    win_rate,
)

SCHEMA = "instrux.label_results/1"


@dataclass(frozen=True)
class PairResult:
    """Two systems against each other.

    Attributes:
        win_rate: of the first against the second.
        acceptance: share of each one's outputs that is acceptable, in these comparisons; empty
            where that was not asked.
        agreement: on which of the two is better.
    """

    win_rate: WinRate
    acceptance: tuple[Share, ...]
    agreement: ComparisonAgreement


@dataclass(frozen=True)
class QuestionAgreement:
    """Agreement on one question, over the outputs of all systems.

    Attributes:
        question: `comparison`, `acceptable`, `overall`, or a flag's or a scale's name.
        agreement: a `ComparisonAgreement` for `comparison`.
    """

    question: str
    agreement: Agreement


@dataclass(frozen=True, kw_only=True)
class LabelSection:
    """What a part of the answers says.

    Attributes:
        scope: `all`, `group` or `use_case`.
        name: the labellers' group or the use case; "" for `all`.
        num_answers: answers, one a labeller, prompt and set of outputs.
        num_prompts: different prompts.
        num_labellers: different labellers.
        num_comparisons: comparisons of two outputs that count in win rates.
        num_ties: of these, ties.
        pairs: every pair of systems that was compared; with a baseline, those with it come
            first, and speak of the other system.
        ratings: overall quality of each system.
        flags: share of each flag and system.
        scales: mean of each scale and system, where toxicity was asked about.
        agreement: by question.
    """

    scope: str
    name: str
    num_answers: int
    num_prompts: int
    num_labellers: int
    num_comparisons: int
    num_ties: int
    pairs: tuple[PairResult, ...]
    ratings: tuple[MeanRating, ...]
    flags: tuple[Share, ...]
    scales: tuple[ScaleMean, ...]
    agreement: tuple[QuestionAgreement, ...]


@dataclass(frozen=True, kw_only=True)
class LabelResults:
    """What people said.

    Attributes:
        baseline: the system that win rates are against; None where every pair is shown.
        systems: all systems, by name.
        guidelines: versions of the instructions that labellers had.
        num_read: answers read; a labeller's earlier ones about the same outputs do not count.
        overall: all answers together.
        groups: by labellers' group.
        use_cases: by the prompts' use case.
        seed: of the bootstrap.
        schema: always `SCHEMA`.
    """

    baseline: str | None
    systems: tuple[str, ...]
    guidelines: tuple[str, ...]
    num_read: int
    overall: LabelSection
    groups: tuple[LabelSection, ...]
    use_cases: tuple[LabelSection, ...]
    seed: int
    schema: str = SCHEMA


def evaluate_labels(
    records: Sequence[LabelRecord], *, baseline: str | None = None, seed: int = 0
) -> LabelResults:
    """Computes every statistic.

    Args:
        records: answers, in any order, resubmitted ones included.
        baseline: a system to give the others' win rates against.
        seed: of the bootstrap.

    Raises:
        InputError: there are no answers, or the baseline is none of the systems.
    """
    if not records:
        raise InputError("no labels to evaluate.")
    kept = latest(records)
    systems = sorted({system for record in kept for system in record.systems})
    if baseline is not None and baseline not in systems:
        raise InputError(
            f"no labels of the baseline {baseline!r}.{did_you_mean(baseline, systems)}"
            f" The systems are {', '.join(systems)}."
        )

    def section(scope: str, name: str, part: Sequence[LabelRecord]) -> LabelSection:
        return _section(part, scope=scope, name=name, baseline=baseline, seed=seed)

    return LabelResults(
        baseline=baseline,
        systems=tuple(systems),
        guidelines=tuple(sorted({record.guideline for record in kept} - {""})),
        num_read=len(records),
        overall=section("all", "", kept),
        groups=tuple(
            section("group", name, part)
            for name, part in split_by(kept, lambda record: record.group).items()
        ),
        use_cases=tuple(
            section("use_case", name, part)
            for name, part in split_by(kept, lambda record: record.use_case).items()
        ),
        seed=seed,
    )


def _section(
    records: Sequence[LabelRecord], *, scope: str, name: str, baseline: str | None, seed: int
) -> LabelSection:
    compared = by_pair(records)
    pairs = [_pair(pair, prompts, baseline, seed) for pair, prompts in compared.items()]
    pairs.sort(key=lambda pair: pair.win_rate.baseline != baseline)
    return LabelSection(
        scope=scope,
        name=name,
        num_answers=len(records),
        num_prompts=len({record.prompt_id for record in records}),
        num_labellers=len({record.labeller for record in records}),
        num_comparisons=sum(pair.win_rate.n for pair in pairs),
        num_ties=sum(pair.win_rate.ties for pair in pairs),
        pairs=tuple(pairs),
        ratings=tuple(mean_ratings(records, seed=seed)),
        flags=tuple(flag_shares(records)),
        scales=tuple(scale_means(records, seed=seed)),
        agreement=tuple(_agreements(records, chain.from_iterable(compared.values()))),
    )


def _pair(
    pair: tuple[str, str], prompts: list[list[Comparison]], baseline: str | None, seed: int
) -> PairResult:
    system, other = reversed(pair) if pair[0] == baseline else pair
    return PairResult(
        win_rate=win_rate(prompts, system=system, baseline=other, seed=seed),
        acceptance=tuple(acceptance_shares(prompts, (system, other))),
        agreement=comparison_agreement([[c.outcome for c in given] for given in prompts]),
    )


def _agreements(
    records: Sequence[LabelRecord], compared: Iterable[list[Comparison]]
) -> Iterable[QuestionAgreement]:
    outcomes = [[c.outcome for c in given] for given in compared]
    if outcomes:
        yield QuestionAgreement("comparison", comparison_agreement(outcomes))
    said: dict[str, list[tuple[tuple[str, str], int | str | bool]]] = {}
    for record in records:
        for scale, value in record.prompt_scales.items():
            said.setdefault(scale, []).append(((record.prompt_id, ""), value))
        for rating in record.ratings:
            key = (record.prompt_id, rating.system)
            for scale, value in rating.scales.items():
                said.setdefault(scale, []).append((key, value))
            if rating.overall is not None:
                said.setdefault("overall", []).append((key, rating.overall))
            if rating.acceptable is not None:
                # An output may be shown beside several others: agreement is about one showing.
                shown = (record.prompt_id, f"{rating.system}\0{sorted(record.systems)}")
                said.setdefault("acceptable", []).append((shown, rating.acceptable))
            for flag, answer in rating.flags.items():
                if answer != NOT_APPLICABLE and flag_applies(record, flag):
                    said.setdefault(flag, []).append((key, answer))
    scales = [scale.name for scale in SCALES]
    for question in ("acceptable", "overall", *FLAG_OF_NAME, *scales):
        if question in said:
            by_output = grouped(said[question], lambda item: item[0]).values()
            answers = [[answer for _, answer in given] for given in by_output]
            ordered = question == "overall" or question in scales
            found = agreement(answers, level="ordinal" if ordered else "nominal")
            yield QuestionAgreement(question, found)


def results_json(results: LabelResults) -> str:
    """The results as indented JSON; what is not defined is null."""
    content = _without_nan(dataclasses.asdict(results))
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_label_results(path: Path, results: LabelResults) -> None:
    """Writes `results.json`, whole or not at all."""
    write_atomically(path, [results_json(results).encode()])


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
