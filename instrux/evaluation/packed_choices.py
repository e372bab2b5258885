"""Inputs and their answer choices in rows that several share, for ranking by an encoder-decoder.

Examples of a task differ in length, and JAX compiles once a shape. In batches of one example a row,
up to half of what is computed is padding, and each batch may have a shape of its own. Here a row of
inputs is filled up with shorter inputs, and a row of choices with further choices of the same row of
inputs. So batches are nearly full, and alike.
"""

import bisect
import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
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

    The longest inputs come first, and a row is filled up with the longest inputs that fit. Rows of
    choices are as long as the longest choice needs, so short choices are not packed beside long ones.

    Args:
        inputs: token ids, each at most `inputs_length` long.
        choices: token ids of each example's choices, end of sequence included.
        batch_size: rows of inputs a batch.
        inputs_length: the longest row of inputs.
        eos_id: stands where there is no input.
        length_steps: static lengths of rows of inputs between one power of two and the next. With
            more than 2, a batch that is not full has a power of two of rows; with 2, all batches
            with choices of like length have as many rows of choices as the largest.
    """
    packer = _Packer(
        [list(ids) or [eos_id] for ids in inputs],
        choices,
        batch_size,
        inputs_length,
        length_steps,
    )
    alike: dict[int, list[int]] = {}
    for example, group in enumerate(choices):
        if group:
            bucket = length_bucket(max(map(len, group)), shortest=8, longest=sys.maxsize)
            alike.setdefault(bucket, []).append(example)
    for _, members in sorted(alike.items()):
        batches = packer.fill_batches(members)
        length = packer.choices_length(batches)
        fewest = packer.most_choice_rows(batches, length) if packer.few_shapes else 1
        yield from (packer.batch(rows, length, fewest) for rows in batches)


@dataclass(frozen=True)
class _Packer:
    """Fills rows; see `packed_choices_batches`."""

    inputs: Sequence[Tokens]
    choices: Sequence[Sequence[Tokens]]
    batch_size: int
    inputs_length: int
    length_steps: int

    def fill_batches(self, members: Sequence[int]) -> list[list[_Row]]:
        """Lays examples into rows, and rows into batches."""
        waiting = sorted((len(self.inputs[i]), i) for i in members)
        most = self.batch_size * 2 * _CHOICE_TOKENS_PER_ROW
        batches: list[list[_Row]] = []
        while waiting:
            capacity = self._row_length(waiting[-1][0])
            rows: list[_Row] = []
            widest = 0
            while waiting and len(rows) < self.batch_size:
                widest = max(widest, self._choice_tokens(waiting[-1][1]))
                if rows and (len(rows) + 1) * widest > most:
                    break
                rows.append(self._filled_row(waiting, capacity))
                widest = max(widest, rows[-1].choice_tokens)
            batches.append(rows)
        return batches

    def choices_length(self, batches: list[list[_Row]]) -> int:
        """The length of choice rows with which the fewest positions are computed."""
        longest = max(
            len(self.choices[example][number])
            for rows in batches
            for row in rows
            for example, number in row.choices
        )
        lengths = sorted({-(-math.ceil(longest * times) // 8) * 8 for times in _CANDIDATES})

        def positions(length: int) -> int:
            return length * sum(
                self._rounded(sum(len(self._choice_rows(row, length)) for row in rows))
                for rows in batches
            )

        return min(lengths, key=positions)

    @property
    def few_shapes(self) -> bool:
        """Whether compiling costs more than rows that hold nothing, as in small models."""
        return self.length_steps <= 2

    def most_choice_rows(self, batches: list[list[_Row]], length: int) -> int:
        """The most rows of choices that a batch needs."""
        return max(sum(len(self._choice_rows(row, length)) for row in rows) for rows in batches)

    def batch(self, rows: list[_Row], choices_length: int, fewest: int) -> PackedChoicesBatch:
        """Writes rows into arrays, with `fewest` rows of choices or more."""
        count = self.batch_size
        if not self.few_shapes:
            count = min(count, 1 << (len(rows) - 1).bit_length())
        inputs = self._lay_inputs(rows, count)
        by_row = [self._choice_rows(row, choices_length) for row in rows]
        held = tuple(map(len, by_row))
        choices = np.zeros((3, self._rounded(max(sum(held), fewest)), choices_length), np.int32)
        places = tuple(self._lay_choices(choices, itertools.chain(*by_row), rows))
        return PackedChoicesBatch(
            examples=tuple(example for row in rows for example in row.members),
            inputs=inputs[0],
            input_segments=inputs[1],
            choices=choices[0],
            choice_segments=choices[1],
            choice_owners=choices[2],
            owners=deal_owners(held, choices.shape[1], count),
            places=places,
        )

    def _lay_inputs(self, rows: list[_Row], count: int) -> np.ndarray:
        """Tokens and numbers of the inputs, int32 `[2, count, inputs length]`."""
        row_length = self._row_length(max(row.input_tokens for row in rows))
        arrays = np.zeros((2, count, row_length), np.int32)
        for index, row in enumerate(rows):
            start = 0
            for number, example in enumerate(row.members, start=1):
                stop = start + len(self.inputs[example])
                arrays[0, index, start:stop] = self.inputs[example]
                arrays[1, index, start:stop] = number
                start = stop
        return arrays

    def _lay_choices(
        self, arrays: np.ndarray, choice_rows: Iterable[list[tuple[int, int]]], rows: list[_Row]
    ) -> Iterator[ChoicePlace]:
        """Writes tokens, numbers and owners, int32 `[3, choice rows, choices length]`; gives places."""
        owner_of = {
            example: number for row in rows for number, example in enumerate(row.members, start=1)
        }
        for index, pairs in enumerate(choice_rows):
            start = 0
            for number, (example, choice) in enumerate(pairs, start=1):
                stop = start + len(self.choices[example][choice])
                arrays[0, index, start:stop] = self.choices[example][choice]
                arrays[1, index, start:stop] = number
                arrays[2, index, start:stop] = owner_of[example]
                yield ChoicePlace(example, choice, index, start, stop)
                start = stop

    def _filled_row(self, waiting: list[tuple[int, int]], capacity: int) -> _Row:
        """Takes the longest of the waiting inputs, then the longest that fits, again and again."""
        row = _Row()
        at = len(waiting) - 1
        while at >= 0:
            length, example = waiting[at]
            added = self._choice_tokens(example)
            if row.members and row.choice_tokens + added > _CHOICE_TOKENS_PER_ROW:
                break
            del waiting[at]
            row.members.append(example)
            row.choices += [(example, number) for number in range(len(self.choices[example]))]
            row.input_tokens += length
            row.choice_tokens += added
            at = bisect.bisect_right(waiting, (capacity - row.input_tokens, math.inf)) - 1
        row.choices.sort(key=lambda pair: -len(self.choices[pair[0]][pair[1]]))
        return row

    def _choice_rows(self, row: _Row, length: int) -> list[list[tuple[int, int]]]:
        """The row's choices in rows of `length`, each choice where it leaves the least room."""
        filled: list[list[tuple[int, int]]] = []
        room: list[tuple[int, int]] = []  # (free positions, row), the fullest first
        for example, number in row.choices:
            wanted = len(self.choices[example][number])
            at = bisect.bisect_left(room, (wanted, -1))
            free, index = room.pop(at) if at < len(room) else (length, len(filled))
            if index == len(filled):
                filled.append([])
            filled[index].append((example, number))
            bisect.insort(room, (free - wanted, index))
        return filled

    def _choice_tokens(self, example: int) -> int:
        return sum(map(len, self.choices[example]))

    def _row_length(self, tokens: int) -> int:
        wanted = max(tokens, _SHORTEST_ROW)
        return inputs_bucket(wanted, longest=self.inputs_length, steps=self.length_steps)

    def _rounded(self, rows: int) -> int:
        """A number of choice rows, rounded up to one of few between powers of two."""
        whole = 1 << (rows - 1).bit_length()
        step = max(1, whole // (2 if self.few_shapes else 4))
        return -(-rows // step) * step
