"""Rows of the public sets that InstructGPT is evaluated on (arXiv 2203.02155, appendix D).

Those of DROP and QuAC, whose answers take some work, are in `question_rows.py`.

Each function gives the rows of one split. They are read from a file of a mirror (the folders that
INSTRUX_MIRROR names) where it has one, else as a dataset of the Hugging Face hub; then they are drawn,
paired, taken apart, and given exemplars, always by seed and never by chance.
"""

import collections
import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instrux.data import mirror
from instrux.data.sources_hub import HuggingFaceSource
from instrux.data.sources_python import load_function
from instrux.errors import InputError
from instrux.prompts.randomness import seeded_rng

Row = Mapping[str, Any]
TOXICITY_BINS = 20
_LONGEST_FIELD = 1 << 24
_FIRST_PLACES = 256


def plain_rows(
    split: str,
    *,
    hub: tuple[str, str | None],
    files: Sequence[str] = (),
    drawn: int | None = None,
    seed: int = 0,
) -> Iterator[Row]:
    """All rows of a split, or some.

    Args:
        split: of the dataset.
        hub: its name and configuration, in a mirror as on the hub.
        files: other names that its file may have in a mirror, JSON lines, CSV or TSV.
        drawn: how many rows are drawn; all where None.
        seed: of the draw.

    Raises:
        InputError: the rows cannot be had.
    """
    rows = read_published(split, hub, files)
    if drawn is None:
        yield from rows
        return
    numbered = list(enumerate(rows))
    chosen = sorted(numbered, key=lambda row: seeded_rng(seed, str(row[0]), "drawn").random())
    yield from (row for _, row in sorted(chosen[:drawn], key=lambda row: row[0]))


def toxicity_rows(
    split: str,
    *,
    hub: tuple[str, str | None],
    files: Sequence[str] = (),
    drawn: int = 5_000,
    bins: int = TOXICITY_BINS,
    seed: int = 0,
) -> Iterator[Row]:
    """Prompts drawn about uniformly over their toxicity, in the order of the file.

    The range from 0 to 1 is cut into `bins` equal parts, and one row of each is taken in turn until
    there are enough; parts that run out are passed over. Prompts without a score are left out.

    Raises:
        InputError: the rows cannot be had, or have no `prompt` with `text` and `toxicity`.
    """
    parts: dict[int, list[tuple[int, Row]]] = collections.defaultdict(list)
    for number, row in enumerate(read_published(split, hub, files)):
        try:
            toxicity = row["prompt"]["toxicity"]
        except (KeyError, TypeError) as error:
            raise InputError(
                f"RealToxicityPrompts, row {number + 1}: no `prompt` with `text` and `toxicity`"
            ) from error
        if toxicity is not None:
            parts[min(bins - 1, int(float(toxicity) * bins))].append((number, row))
    for part, members in parts.items():
        seeded_rng(seed, str(part), "toxicity").shuffle(members)
    turns = [
        member
        for turn in range(max(map(len, parts.values()), default=0))
        for part in sorted(parts)
        for member in parts[part][turn : turn + 1]
    ]
    yield from (row for _, row in sorted(turns[:drawn], key=lambda member: member[0]))


_SENTENCE_ID = re.compile(
    r"(?P<occupation>[^.]+)\.(?P<other>[^.]+)\.(?P<answer>\d+)\.(?P<gender>\w+)"
)


def winogender_pairs(
    split: str, *, hub: tuple[str, str | None], files: Sequence[str]
) -> Iterator[Row]:
    """The 120 pairs of the 720 sentences: 60 occupations, two templates, male and female.

    Of each template the sentences with the named participant are taken, not those with `someone`;
    the paper does not say which, and its example has one.

    Raises:
        InputError: the rows cannot be had, a `sentid` is none, or a pair is not whole.
    """
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for number, row in enumerate(read_published(split, hub, files)):
        match = _SENTENCE_ID.match(str(row.get("sentid")))
        if match is None or not isinstance(row.get("sentence"), str):
            raise InputError(
                f"Winogender, row {number + 1}: no `sentid` and `sentence` as published"
            )
        if match["other"] != "someone" and match["gender"] in ("male", "female"):
            key = match["occupation"], match["other"], match["answer"]
            found.setdefault(key, {})[match["gender"]] = row["sentence"]
    for key, pair in found.items():
        if len(pair) != 2:
            raise InputError(f"Winogender: {'.'.join(key)} has no sentence of both genders")
        yield {"sentences": [pair["male"], pair["female"]]}


def crows_pairs(
    split: str, *, hub: tuple[str, str | None], files: Sequence[str] = ()
) -> Iterator[Row]:
    """The 1,508 pairs.

    Raises:
        InputError: the rows cannot be had, or a pair is not whole.
    """
    for number, row in enumerate(read_published(split, hub, files)):
        try:
            yield {"sentences": [row["sent_more"], row["sent_less"]]}
        except KeyError as error:
            raise InputError(
                f"CrowS-Pairs, row {number + 1}: no {error}; it needs sent_more and sent_less"
            ) from error


def truthful_qa_rows(
    split: str, *, hub: tuple[str, str | None], files: Sequence[str]
) -> Iterator[Row]:
    """Questions with `best`, `correct` and `incorrect` answers, of the hub's schema or the CSV's.

    Raises:
        InputError: the rows cannot be had, or are of neither schema.
    """
    for number, row in enumerate(read_published(split, hub, files)):
        try:
            yield _from_csv(row) if "Question" in row else _from_hub(row)
        except KeyError as error:
            raise InputError(f"TruthfulQA, row {number + 1}: no field {error}") from error


def _from_csv(row: Row) -> Row:
    return {
        "question": row["Question"].strip(),
        "best": row["Best Answer"].strip(),
        "correct": _answers(row["Correct Answers"].split(";")),
        "incorrect": _answers(row["Incorrect Answers"].split(";")),
    }


def _from_hub(row: Row) -> Row:
    return {
        "question": row["question"].strip(),
        "best": row["best_answer"].strip(),
        "correct": _answers(row["correct_answers"]),
        "incorrect": _answers(row["incorrect_answers"]),
    }


def _answers(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text.strip() for text in texts if text.strip()))


# --- Exemplars -------------------------------------------------------------------------------------


def with_shots(
    split: str,
    *,
    rows: str,
    arguments: Mapping[str, Any],
    shots: int,
    shots_split: str,
    group: str | None = None,
    seed: int = 0,
) -> Iterator[Row]:
    """Rows with `shots`: exemplars drawn for each by seed and row number.

    None of them is the row itself, nor, where `group` is given, of the same passage or dialogue, so
    that no exemplar gives an answer away; no two of a row's are of one passage either.

    Args:
        split: of the rows.
        rows: which function gives them, `module:function`.
        arguments: its keyword arguments.
        shots: exemplars a row.
        shots_split: where they are drawn from.
        group: the field that rows of one passage share.
        seed: of the draw.

    Raises:
        InputError: there are too few rows to draw from.
    """
    read = load_function(rows)
    pool = list(read(shots_split, **arguments))
    same_split = shots_split == split
    for number, row in enumerate(read(split, **arguments)):
        rng = seeded_rng(seed, str(number), "shots")
        chosen = _drawn(pool, row, number if same_split else None, shots, group, rng)
        yield {**row, "shots": chosen}


def _drawn(
    pool: Sequence[Row], row: Row, own: int | None, shots: int, group: str | None, rng: Any
) -> list[Row]:
    seen = {row[group]} if group else set()
    chosen: list[Row] = []
    for place in _places(len(pool), rng):
        candidate = pool[place]
        if place == own or (group and candidate[group] in seen) or not _is_exemplar(candidate):
            continue
        if group:
            seen.add(candidate[group])
        chosen.append(candidate)
        if len(chosen) == shots:
            return chosen
    raise InputError(
        f"{shots} exemplars are wanted and {len(chosen)} rows can be drawn; give more rows, or"
        " another split for them"
    )


def _places(count: int, rng: Any) -> Iterator[int]:
    """All places in random order; a whole permutation is made only if the first ones do not do."""
    first = rng.sample(range(count), min(count, _FIRST_PLACES))
    yield from first
    known = set(first)
    rest = [place for place in range(count) if place not in known]
    rng.shuffle(rest)
    yield from rest


def _is_exemplar(row: Row) -> bool:
    """WSC's rows say what a pronoun refers to only where their candidate is right."""
    return not ("span1_text" in row and row.get("label") == 0)


# --- Files -----------------------------------------------------------------------------------------


def read_published(
    split: str, hub: tuple[str, str | None], files: Sequence[str] = ()
) -> Iterator[Row]:
    """All rows of a split: from a file of a mirror that has one of these names, else as on the hub.

    Raises:
        InputError: the rows cannot be had.
    """
    if path := _mirrored(files):
        yield from _file_rows(path)
        return
    source = HuggingFaceSource(*hub)
    for shard in source.shards(split):
        yield from (row for _, row in source.read(shard))


def _mirrored(files: Sequence[str]) -> Path | None:
    if not files:
        return None
    try:
        return mirror.mirrored_file(files, home="published")
    except InputError:
        return None


def _file_rows(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            if path.suffix == ".jsonl":
                yield from (json.loads(line) for line in lines if line.strip())
            else:
                csv.field_size_limit(_LONGEST_FIELD)
                yield from csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ",")
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: its rows cannot be read ({error}).") from error
