r"""The Flan Collection of 2022 on plain data: its parts, their weights, and chains of thought.

The top level mixes five sources (arXiv 2301.13688; weights of the released mixture `flan2022_submix`).
Each is mixed from forms: zero-shot or few-shot, with or without answer options. Two sources add an
inverted twin at weight 0.3. A part that is not to be had is left out, and what is left is brought to
a sum of one.

Chain-of-thought rows come as lines of three columns: question, answer, rationale; `\n` is written
out as two characters.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from instrux.errors import InputError, did_you_mean

SOURCE_WEIGHTS = {
    "flan2021": 0.40,
    "t0": 0.32,
    "niv2": 0.20,
    "cot": 0.05,
    "dialog": 0.03,
}
"""Share of each source in the whole."""
_ALL_FORMS = ("zsopt", "fsopt", "zsnoopt", "fsnoopt")
_WITH_OPTIONS = ("zsopt", "fsopt")
FORMS = {
    "flan2021": _ALL_FORMS,
    "t0": _ALL_FORMS,
    "niv2": _WITH_OPTIONS,
    "cot": _WITH_OPTIONS,
    "dialog": _WITH_OPTIONS,
}
"""Forms of each source, mixed evenly."""
MAX_ROWS = {"flan2021": 30_000, "t0": 20_000, "cot": 100_000, "niv2": 5_000, "dialog": 200_000}
"""Rows of one dataset that count towards its mixing rate."""
INVERSION_WEIGHT = 0.3
INVERTED_SOURCES = ("cot", "dialog")
COT_SETS = ("gsm8k", "strategyqa", "creak", "qasc", "esnli", "ecqa", "sensemaking")
COT_SETS_OF_LOWER_QUALITY = ("aqua", "qed")
"""Sets that the released code calls so; they take part all the same."""
MMLU_TASK_NUMBERS = frozenset([*range(664, 668), *range(685, 738)])
"""The 57 Natural-Instructions tasks made from MMLU, which is evaluated on."""

_TASK_NUMBER = re.compile(r"task(\d+)(?:_.*)?(?:\.json)?", re.DOTALL)
_COT_COLUMNS = 3


def is_mmlu_task(task: str) -> bool:
    """Says whether a Natural-Instructions task (`task685_mmlu_…`) is one of the 57 from MMLU."""
    match = _TASK_NUMBER.fullmatch(task)
    return match is not None and int(match[1]) in MMLU_TASK_NUMBERS


def form_name(source: str, form: str) -> str:
    """Gives the released name of a source in one form: `flan_zsopt`, `cot_fsopt`."""
    return f"{source.removesuffix('2021')}_{form}"


def source_weights(available: Collection[str] | None = None) -> dict[str, float]:
    """Gives the share of each source, brought to a sum of one over those that are available.

    Raises:
        InputError: a source is unknown, or none is available.
    """
    chosen = list(SOURCE_WEIGHTS) if available is None else list(available)
    for source in chosen:
        if source not in SOURCE_WEIGHTS:
            hint = did_you_mean(source, SOURCE_WEIGHTS)
            raise InputError(
                f"unknown source {source!r}; known: {', '.join(SOURCE_WEIGHTS)}.{hint}"
            )
    total = sum(SOURCE_WEIGHTS[source] for source in set(chosen))
    if not total:
        raise InputError("no source of the Flan Collection is available; give at least one")
    return {source: weight / total for source, weight in SOURCE_WEIGHTS.items() if source in chosen}


def form_weights(available: Collection[str] | None = None) -> dict[str, float]:
    """Gives the share of each source in each of its forms: `{"flan_zsopt": 0.1, …}`."""
    return {
        form_name(source, form): weight / len(FORMS[source])
        for source, weight in source_weights(available).items()
        for form in FORMS[source]
    }


def dataset_rate(source: str, rows: int, *, inverted: bool = False) -> float:
    """Gives the rate of one dataset within its source.

    Args:
        source: `flan2021`, `t0`, `niv2`, `cot` or `dialog`.
        rows: rows of its training split, a constant of the registry and never read.
        inverted: whether this is the inverted twin.

    Raises:
        InputError: the source is unknown, or has no inverted twin.
    """
    if source not in MAX_ROWS:
        raise InputError(f"unknown source {source!r}.{did_you_mean(source, MAX_ROWS)}")
    if inverted and source not in INVERTED_SOURCES:
        raise InputError(f"{source} has no inverted twin; only {', '.join(INVERTED_SOURCES)} have")
    return min(rows, MAX_ROWS[source]) * (INVERSION_WEIGHT if inverted else 1.0)


@dataclass(frozen=True)
class CotRow:
    """A question with its chain of thought.

    Attributes:
        question: the question, its options included where it has any.
        answer: the answer alone.
        rationale: the reasoning that leads to it.
    """

    question: str
    answer: str
    rationale: str

    @property
    def fields(self) -> dict[str, str]:
        """What templates name."""
        return {"question": self.question, "answer": self.answer, "rationale": self.rationale}


def parse_cot_line(line: str, where: str) -> CotRow:
    r"""Reads a line of question, answer and rationale.

    Args:
        line: three columns with tabs between them; `\n` as two characters is a newline.
        where: file and line, for messages.

    Raises:
        InputError: there are not three columns, or one is empty.
    """
    columns = line.rstrip("\r\n").split("\t")
    if len(columns) != _COT_COLUMNS:
        raise InputError(
            f"{where}: {len(columns)} columns; give question, answer and rationale, tabs between"
        )
    question, answer, rationale = (column.strip() for column in columns)
    for name, text in (("question", question), ("answer", answer), ("rationale", rationale)):
        if not text:
            raise InputError(f"{where}: the {name} is empty; fill it in or leave the line out")
    return CotRow(question.replace("\\n", "\n"), answer, rationale.replace("\\n", "\n"))
