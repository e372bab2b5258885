"""Inputs and their answer choices in rows that several share, for ranking by an encoder-decoder.

Examples of a task differ in length, and JAX compiles once a shape. In batches of one example a row,
up to half of what is computed is padding, and each batch may have a shape of its own. Here a row of
inputs is filled up with shorter inputs, and a row of choices with further choices of the same row of
inputs. So batches are nearly full, and alike.
"""

import bisect
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from instrux.evaluation.batches import Tokens, deal_owners, inputs_bucket, length_bucket

_SHORTEST_ROW = 128
"""Below this a row's attention costs little beside its projections, in models of any size."""
_CHOICE_TOKENS_PER_ROW = 512
"""A row of inputs takes further inputs as long as its choices have no more tokens together."""
_CANDIDATES = (1, 1.5, 2, 3, 4)
"""Lengths of choice rows that are tried, in multiples of the longest choice."""


@dataclass(frozen=True)
class ChoicePlace:
    """Where a choice lies: its example and number there, and its tokens `[row, start:stop]`."""

    example: int
    choice: int
    row: int
    start: int
    stop: int


@dataclass(frozen=True)
class PackedChoicesBatch:
    """Rows of inputs, and rows of choices that belong to them. All arrays are int32.

    Attributes:
        examples: the positions, in the sequences that were given, of the examples in it.
        inputs: `[rows, inputs length]`, padded with 0.
        input_segments: `[rows, inputs length]`: 1, 2, ... for the inputs of a row, 0 for padding.
        choices: `[choice rows, choices length]`, padded with 0.
        choice_segments: `[choice rows, choices length]`, numbers of a row's choices.
        choice_owners: `[choice rows, choices length]`: the number of the choice's input in its row.
        owners: `[choice rows]`: the row of inputs that a row of choices belongs to.
        places: where each choice lies.
    """

    examples: tuple[int, ...]
    inputs: np.ndarray
    input_segments: np.ndarray
    choices: np.ndarray
    choice_segments: np.ndarray
    choice_owners: np.ndarray
    owners: np.ndarray
    places: tuple[ChoicePlace, ...]


@dataclass
class _Row:
    """A row of inputs: its examples, and the choices of all of them, the longest first."""

    members: list[int] = field(default_factory=list)
    choices: list[tuple[int, int]] = field(default_factory=list)
    input_tokens: int = 0
    choice_tokens: int = 0


def packed_choices_batches(
    inputs: Sequence[Tokens],
    choices: Sequence[Sequence[Tokens]],
    *,
    batch_size: int,
    inputs_length: int,
    eos_id: int,
    length_steps: int = 2,
) -> Iterator[PackedChoicesBatch]:
    """Packs inputs and their choices; an example without choices is left out.

    The longest inputs come first, and a row is filled up with the longest inputs that fit.

    Args:
        inputs: token ids, each at most `inputs_length` long.
        choices: token ids of each example's choices, end of sequence included.
        batch_size: rows of inputs a batch. The last batch has a power of two of them, as has one
            whose choices are so many that fewer rows must do.
        inputs_length: the longest row of inputs.
        eos_id: stands where there is no input.
        length_steps: static lengths of rows between one power of two and the next.
    """
    tokens = [list(ids) or [eos_id] for ids in inputs]
    # Rows of choices are as long as the longest needs; short ones beside it would be mostly padding.
    alike: dict[int, list[int]] = {}
    for example, group in enumerate(choices):
        if group:
            bucket = length_bucket(max(map(len, group)), shortest=8, longest=sys.maxsize)
            alike.setdefault(bucket, []).append(example)
    for _, members in sorted(alike.items()):
        batches = _fill_batches(members, tokens, choices, batch_size, inputs_length, length_steps)
        length = _choices_length(batches, choices)
        for rows in batches:
            longest = max(row.input_tokens for row in rows)
            row_length = _row_length(longest, inputs_length, length_steps)
            yield _batch(rows, tokens, choices, batch_size, row_length, length)


def _row_length(tokens: int, longest: int, steps: int) -> int:
    return inputs_bucket(max(tokens, _SHORTEST_ROW), longest=longest, steps=steps)


def _fill_batches(
    members: Sequence[int],
    inputs: Sequence[Tokens],
    choices: Sequence[Sequence[Tokens]],
    batch_size: int,
    inputs_length: int,
    length_steps: int,
) -> list[list[_Row]]:
    waiting = sorted((len(inputs[i]), i) for i in members)
    batches: list[list[_Row]] = []
    while waiting:
        capacity = _row_length(waiting[-1][0], inputs_length, length_steps)
        rows: list[_Row] = []
        most = batch_size * 2 * _CHOICE_TOKENS_PER_ROW
        widest = 0
        while waiting and len(rows) < batch_size:
            first = sum(map(len, choices[waiting[-1][1]]))
            widest = max(widest, first)
            if rows and (len(rows) + 1) * widest > most:
                break
            rows.append(_filled_row(waiting, choices, capacity))
            widest = max(widest, rows[-1].choice_tokens)
        batches.append(rows)
    return batches


def _filled_row(
    waiting: list[tuple[int, int]], choices: Sequence[Sequence[Tokens]], capacity: int
) -> _Row:
    """Takes the longest of the waiting inputs, and then the longest that fits, again and again."""
    row = _Row()
    at = len(waiting) - 1
    while at >= 0:
        length, example = waiting[at]
        added = sum(map(len, choices[example]))
        if row.members and row.choice_tokens + added > _CHOICE_TOKENS_PER_ROW:
            break
        del waiting[at]
        row.members.append(example)
        row.choices += [(example, number) for number in range(len(choices[example]))]
        row.input_tokens += length
        row.choice_tokens += added
        at = bisect.bisect_right(waiting, (capacity - row.input_tokens, math.inf)) - 1
    row.choices.sort(key=lambda pair: -len(choices[pair[0]][pair[1]]))
    return row


def _choices_length(batches: list[list[_Row]], choices: Sequence[Sequence[Tokens]]) -> int:
    """The length of choice rows with which the fewest positions are computed."""
    longest = max(
        len(choices[example][number])
        for rows in batches
        for row in rows
        for example, number in row.choices
    )
    lengths = sorted({-(-math.ceil(longest * times) // 8) * 8 for times in _CANDIDATES})

    def positions(length: int) -> int:
        return length * sum(
            _rounded(sum(len(_choice_rows(row, choices, length)) for row in rows))
            for rows in batches
        )

    return min(lengths, key=positions)


def _choice_rows(
    row: _Row, choices: Sequence[Sequence[Tokens]], length: int
) -> list[list[tuple[int, int]]]:
    """The row's choices in rows of `length`, each choice where it leaves the least room."""
    filled: list[list[tuple[int, int]]] = []
    room: list[tuple[int, int]] = []  # (free positions, row), the fullest first
    for pair in row.choices:
        wanted = len(choices[pair[0]][pair[1]])
        at = bisect.bisect_left(room, (wanted, -1))
        if at == len(room):
            filled.append([pair])
            bisect.insort(room, (length - wanted, len(filled) - 1))
            continue
        free, number = room.pop(at)
        filled[number].append(pair)
        bisect.insort(room, (free - wanted, number))
    return filled


def _rounded(rows: int) -> int:
    """A number of choice rows, rounded up to one of four between powers of two."""
    step = max(1, (1 << (rows - 1).bit_length()) // 8)
    return -(-rows // step) * step


def _batch(
    rows: list[_Row],
    inputs: Sequence[Tokens],
    choices: Sequence[Sequence[Tokens]],
    batch_size: int,
    inputs_length: int,
    choices_length: int,
) -> PackedChoicesBatch:
    count = min(batch_size, 1 << (len(rows) - 1).bit_length())
    input_tokens = np.zeros((2, count, inputs_length), np.int32)  # ids, numbers
    segment_of: dict[int, int] = {}
    for place, row in enumerate(rows):
        start = 0
        for number, example in enumerate(row.members, start=1):
            stop = start + len(inputs[example])
            input_tokens[0, place, start:stop] = inputs[example]
            input_tokens[1, place, start:stop] = number
            segment_of[example] = number
            start = stop
    by_row = [_choice_rows(row, choices, choices_length) for row in rows]
    held = tuple(map(len, by_row))
    choice_tokens = np.zeros((3, _rounded(sum(held)), choices_length), np.int32)
    places = []
    for place, pairs in enumerate(pairs for of_row in by_row for pairs in of_row):
        start = 0
        for number, (example, choice) in enumerate(pairs, start=1):
            stop = start + len(choices[example][choice])
            choice_tokens[0, place, start:stop] = choices[example][choice]
            choice_tokens[1, place, start:stop] = number
            choice_tokens[2, place, start:stop] = segment_of[example]
            places.append(ChoicePlace(example, choice, place, start, stop))
            start = stop
    return PackedChoicesBatch(
        tuple(example for row in rows for example in row.members),
        *input_tokens,
        *choice_tokens,
        deal_owners(held, choice_tokens.shape[1], count),
        tuple(places),
    )
