"""What people said as tables of text: on the screen, and in the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from instrux.evaluation.label_agreement import Agreement, ComparisonAgreement
from instrux.evaluation.label_flags import FLAG_OF_NAME
from instrux.evaluation.label_results import LabelResults, LabelSection, PairResult
from instrux.evaluation.label_scales import SCALE_OF_NAME
from instrux.evaluation.label_statistics import Share
from instrux.evaluation.results import Interval

ABSENT = "–"


@dataclass(frozen=True)
class Table:
    """A table, its first columns to the left and the others to the right.

    Attributes:
        title: what it shows.
        note: how to read it.
        columns: headings.
        rows: cells, as many as there are headings.
        names: how many columns hold names, and so stand to the left.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1


def tables(results: LabelResults) -> list[Table]:
    """Every table there is something for, of all answers together."""
    section = results.overall
    made = [
        _pair_table(_shown_pairs(section, results.baseline)),
        _rating_table(section),
        _scale_table(section),
        _flag_table(section),
        _acceptance_table(_shown_pairs(section, results.baseline)),
        _agreement_table(results),
        _breakdown(results, results.groups, "labellers' group"),
        _breakdown(results, results.use_cases, "use case"),
    ]
    return [table for table in made if table.rows]


def _shown_pairs(section: LabelSection, baseline: str | None) -> list[PairResult]:
    """All pairs, or with a baseline those that it is in."""
    return [pair for pair in section.pairs if baseline in (None, pair.win_rate.baseline)]


def _pair_table(pairs: Sequence[PairResult]) -> Table:
    return Table(
        "Win rates",
        "Over prompts, by the first answer to each; a tie is half a win. The interval draws"
        " prompts 10,000 times; Wilson's formula is a check on it, and is wider where there are"
        " many ties.",
        (
            "system – against",
            "n",
            "win",
            "tie",
            "loss",
            "win rate %",
            "95 % interval",
            "Wilson",
            "without ties %",
        ),
        tuple(_pair_row(pair) for pair in pairs),
    )


def _pair_row(pair: PairResult) -> tuple[str, ...]:
    rate = pair.win_rate
    return (
        f"{rate.system} – {rate.baseline}",
        str(rate.n),
        *(str(count) for count in (rate.wins, rate.ties, rate.losses)),
        percent(rate.win_rate),
        _range(rate.bootstrap),
        _range(rate.wilson),
        percent(rate.win_rate_without_ties),
    )


def _rating_table(section: LabelSection) -> Table:
    return Table(
        "Overall quality",
        "1 to 7, mean over prompts; the interval draws prompts.",
        ("system", "n", "mean", "95 % interval", *(f"{value}" for value in range(1, 8))),
        tuple(
            (
                rating.system,
                str(rating.n),
                f"{rating.mean:.2f}",
                f"{rating.bootstrap.low:.2f} to {rating.bootstrap.high:.2f}",
                *(str(count) for count in rating.counts),
            )
            for rating in section.ratings
        ),
    )


def _scale_table(section: LabelSection) -> Table:
    rows = []
    for i, mean in enumerate(section.scales):
        first = i == 0 or section.scales[i - 1].scale != mean.scale
        label = SCALE_OF_NAME[mean.scale].label if first else ""
        low, high = mean.bootstrap.low, mean.bootstrap.high
        counts = ", ".join(f"{value}: {count}" for value, count in mean.counts.items() if count)
        interval = f"{low:.2f} to {high:.2f}"
        rows.append((label, mean.system or "–", str(mean.n), f"{mean.mean:.2f}", interval, counts))
    return Table(
        "Toxicity and continuity",
        "Mean over prompts; the interval draws prompts. Toxicity is 0 (not), 1 or 2 (very), relative"
        " to the prompt -1 (less), 0 or 1 (more); continuity is 1 to 7.",
        ("scale", "system", "n", "mean", "95 % interval", "value: how often"),
        tuple(rows),
        names=2,
    )


def _flag_table(section: LabelSection) -> Table:
    told = {share.question for share in section.flags if share.yes}
    never = {s.question: s.n for s in section.flags if s.question not in told}
    note = (
        "Share of yes, with Wilson's 95 % interval. Hallucination counts over closed-domain"
        " prompts alone, constraints over prompts that have one; n/a does not count."
    )
    if never:
        labels = ", ".join(FLAG_OF_NAME[flag].label for flag in never)
        note += f" Nobody said yes to: {labels}."
    shares = [share for share in section.flags if share.question in told]
    rows = []
    for i, share in enumerate(shares):
        first = i == 0 or shares[i - 1].question != share.question
        label = FLAG_OF_NAME[share.question].label if first else ""
        counts = (str(share.yes), str(share.n), str(share.not_applicable))
        rows.append((label, share.system, percent(share.share), _range(share.wilson), *counts))
    columns = ("flag", "system", "yes %", "95 % interval", "yes", "n", "n/a")
    return Table("Flags", note, columns, tuple(rows), names=2)


def _acceptance_table(pairs: Sequence[PairResult]) -> Table:
    return Table(
        "Acceptable outputs",
        "Share of outputs that are acceptable, in the comparison named.",
        ("comparison", "first", "second"),
        tuple(
            (
                f"{pair.win_rate.system} – {pair.win_rate.baseline}",
                *(share_cell(share) for share in pair.acceptance),
            )
            for pair in pairs
            if len(pair.acceptance) == 2
        ),
    )


def _agreement_table(results: LabelResults) -> Table:
    section = results.overall
    rows = [_agreement_row(_question(q.question), q.agreement) for q in section.agreement]
    pairs = _shown_pairs(section, results.baseline)
    if len(pairs) > 1:
        rows += [
            _agreement_row(
                f"better: {pair.win_rate.system} – {pair.win_rate.baseline}", pair.agreement
            )
            for pair in pairs
        ]
    if len(results.groups) > 1:
        rows += [
            _agreement_row(f"{_question(q.question)}, {group.name} labellers", q.agreement)
            for group in results.groups
            for q in group.agreement
            if q.question in _QUESTIONS
        ]
    return Table(
        "Agreement of labellers",
        "n: things that two labellers or more answered about. Raw agreement and Cohen's κ of the"
        " first two answers; Krippendorff's α of all (ordinal for overall quality and scales, else nominal)."
        " Without ties: where neither said tie. Relaxed: half a credit where one of the two did.",
        ("question", "n", "raw %", "without ties % (n)", "relaxed %", "κ", "α"),
        tuple(row for row in rows if row[1] != "0"),
    )


_QUESTIONS = {
    "comparison": "which is better",
    "acceptable": "acceptable",
    "overall": "overall quality",
}


def _question(name: str) -> str:
    if name in _QUESTIONS:
        return _QUESTIONS[name]
    return SCALE_OF_NAME[name].label if name in SCALE_OF_NAME else FLAG_OF_NAME[name].label


def _agreement_row(label: str, found: Agreement) -> tuple[str, ...]:
    relaxed = without = ABSENT
    if isinstance(found, ComparisonAgreement):
        relaxed = percent(found.relaxed)
        without = f"{percent(found.raw_without_ties)} ({found.n_without_ties})"
    return (
        label,
        str(found.n),
        percent(found.raw),
        without,
        relaxed,
        _coefficient(found.kappa),
        _coefficient(found.alpha),
    )


def _breakdown(results: LabelResults, sections: Sequence[LabelSection], what: str) -> Table:
    """Each system in each part: win rate where there is a baseline, and mean quality."""
    if len(sections) < 2:
        return Table("", "", (), ())
    rows = []
    for section in sections:
        first = f"{section.name} ({section.num_prompts} prompts)"
        for system in results.systems:
            cells = _system_cells(section, system, results.baseline)
            if any(cell != ABSENT for cell in cells):
                rows.append((first, system, *cells))
                first = ""
    against = f"win rate % against {results.baseline}" if results.baseline else "win rate %"
    return Table(
        f"By {what}",
        "Win rate with its interval and n; mean overall quality with its interval and n."
        + ("" if results.baseline else " Name a --baseline for win rates."),
        (what, "system", against, "overall quality"),
        tuple(rows),
        names=2,
    )


def _system_cells(section: LabelSection, system: str, baseline: str | None) -> tuple[str, str]:
    rate = quality = ABSENT
    for pair in section.pairs:
        if pair.win_rate.system == system and pair.win_rate.baseline == baseline:
            found = pair.win_rate
            rate = f"{percent(found.win_rate)} [{_range(found.bootstrap)}] n={found.n}"
    for rating in section.ratings:
        if rating.system == system:
            low, high = rating.bootstrap.low, rating.bootstrap.high
            quality = f"{rating.mean:.2f} [{low:.2f} to {high:.2f}] n={rating.n}"
    return rate, quality


def share_cell(share: Share | None) -> str:
    """A share in percent with its interval and n."""
    if share is None or share.share is None:
        return ABSENT
    return f"{percent(share.share)} [{_range(share.wilson)}] n={share.n}"


def percent(share: float | None) -> str:
    """A share as percent with one decimal."""
    return ABSENT if share is None else f"{100 * share:.1f}"


def _range(interval: Interval) -> str:
    return f"{percent(interval.low)} to {percent(interval.high)}"


def _coefficient(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"


def summary(results: LabelResults) -> str:
    """One line: how many answers, of whom, about what."""
    section = results.overall
    parts = [
        _count(section.num_answers, "answer"),
        _count(section.num_prompts, "prompt"),
        _count(section.num_labellers, "labeller"),
        _count(len(results.systems), "system"),
    ]
    if section.num_comparisons:
        ties = _count(section.num_ties, "tie")
        parts.append(f"{_count(section.num_comparisons, 'comparison')} ({ties})")
    resubmitted = results.num_read - section.num_answers
    if resubmitted:
        parts.append(f"{resubmitted} replaced by later answers")
    return ", ".join(parts)


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def as_text(table: Table) -> str:
    """A table for a terminal."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    text = [f"{table.title}"]
    for line in lines:
        cells = [
            cell.ljust(width) if i < table.names else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    text.insert(2, "-" * max(len(line) for line in text[1:]))
    return "\n".join(text)
