"""Examples of different lengths, and with different numbers of choices, in batches of few shapes.

JAX compiles once a shape, so every length is rounded up to one of few and examples are sorted by
length before they are cut into batches: neighbours are alike, and little is padding. Choices do
not lie in a rectangle [example, choice]: they form one list of rows, each knowing the example that
owns it, so an example with two choices costs two rows beside one with twenty.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Tokens = Sequence[int]
_SHORTEST_INPUTS = 32
_SHORTEST_STEP = 8
_SHORTEST_CHOICE = 4
_CHOICE_TOKENS_PER_EXAMPLE = 128
"""Bounds the logits of a batch: at most so many choice tokens an example on average."""


@dataclass(frozen=True)
class InputsBatch:
    """Inputs alone.

    Attributes:
        examples: the position of each example in the sequence that was given; fewer than rows
            where the batch is not full.
        inputs: int32 [batch, inputs_length], padded with 0.
    """

    examples: tuple[int, ...]
    inputs: np.ndarray


@dataclass(frozen=True)
class RankedBatch(InputsBatch):
    """Inputs and the choices to score.

    Attributes:
        choices: int32 [rows, choice_length], padded with 0.
        owners: int32 [rows], the row of `inputs` that a choice belongs to. Padding rows are dealt
            out so that no input has more rows than it must: the model's memory and its compiled
            program depend on the most rows of one input.
        choice_counts: how many rows each example of `examples` has, in that order.
    """

    choices: np.ndarray
    owners: np.ndarray
    choice_counts: tuple[int, ...]


def length_bucket(length: int, *, shortest: int, longest: int) -> int:
    """The static length for sequences up to `length`: a power of two, at most `longest`."""
    return min(longest, max(shortest, 1 << max(0, length - 1).bit_length()))


def inputs_bucket(length: int, *, longest: int, steps: int = 2) -> int:
    """The static length for inputs up to `length`: one of `steps` between powers of two.

    Inputs are most of the work, and between powers of two alone up to half of it is padding: 525
    tokens would cost what 1,024 do. With `steps` of 2 they cost 768, with 8 they cost 576.
    """
    whole = 1 << (max(length, _SHORTEST_INPUTS) - 1).bit_length()
    step = max(_SHORTEST_STEP, whole // 2 // steps)
    return min(longest, max(_SHORTEST_INPUTS, -(-length // step) * step))


def inputs_batches(
    inputs: Sequence[Tokens],
    *,
    batch_size: int,
    inputs_length: int,
    eos_id: int,
    length_steps: int = 2,
) -> Iterator[InputsBatch]:
    """Cuts inputs into batches of `batch_size`, shortest first.

    Args:
        inputs: token ids, each at most `inputs_length` long.
        batch_size: rows a batch; the last one is filled up with rows nobody reads.
        inputs_length: the longest static length.
        eos_id: stands where there is no input, so that no row is all padding.
        length_steps: static lengths between one power of two and the next.
    """
    order = sorted(range(len(inputs)), key=lambda i: len(inputs[i]))
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        yield InputsBatch(
            tuple(members),
            _inputs_array(inputs, members, batch_size, inputs_length, eos_id, length_steps),
        )


def ranked_batches(
    inputs: Sequence[Tokens],
    choices: Sequence[Sequence[Tokens]],
    *,
    batch_size: int,
    inputs_length: int,
    choice_length: int,
    eos_id: int,
    length_steps: int = 2,
) -> Iterator[RankedBatch]:
    """Cuts inputs with their choices into batches of few shapes.

    A batch is full at `batch_size` examples or when the rows for choices are used up. There are
    as many rows as `batch_size` examples (of about as many choices) have on average, rounded up,
    and fewer where choices are long; one example's choices are never parted.

    Args:
        inputs: token ids, each at most `inputs_length` long.
        choices: token ids of each example's choices, end of sequence included, each at most
            `choice_length` long.
        batch_size: examples a batch.
        inputs_length: the longest static length of inputs.
        choice_length: the longest static length of a choice.
        eos_id: stands where there is no input.
        length_steps: static lengths of inputs between one power of two and the next.
    """
    if not inputs:
        return
    lengths = [
        length_bucket(
            max(map(len, group), default=1), shortest=_SHORTEST_CHOICE, longest=choice_length
        )
        for group in choices
    ]
    buckets = [
        inputs_bucket(len(tokens), longest=inputs_length, steps=length_steps) for tokens in inputs
    ]
    slots = [1 << max(0, len(group) - 1).bit_length() for group in choices]
    order = sorted(
        range(len(inputs)), key=lambda i: (lengths[i], slots[i], buckets[i], len(inputs[i]))
    )
    means = {
        slot: np.mean(
            [len(group) for group, own in zip(choices, slots, strict=True) if own == slot]
        )
        for slot in set(slots)
    }
    start = 0
    while start < len(order):
        first = order[start]
        rows = _choice_rows(means[slots[first]], batch_size, lengths[first])
        members = _fill(order[start:], choices, lengths, batch_size, rows)
        start += len(members)
        yield RankedBatch(
            tuple(members),
            _inputs_array(inputs, members, batch_size, inputs_length, eos_id, length_steps),
            *_choices_arrays(choices, members, rows, lengths, batch_size),
        )


def _choice_rows(mean_choices: np.floating, batch_size: int, length: int) -> int:
    wanted = batch_size * max(1, math.ceil(mean_choices))
    affordable = max(1, batch_size * _CHOICE_TOKENS_PER_EXAMPLE // length)
    return min(wanted, affordable)


def _fill(
    order: Sequence[int],
    choices: Sequence[Sequence[Tokens]],
    lengths: Sequence[int],
    batch_size: int,
    rows: int,
) -> list[int]:
    """The first examples of `order` that one batch holds; at least one, all of one choice length."""
    members: list[int] = []
    used = 0
    for example in order[:batch_size]:
        used += len(choices[example])
        if members and (used > rows or lengths[example] != lengths[members[0]]):
            break
        members.append(example)
    return members


def _inputs_array(
    inputs: Sequence[Tokens],
    members: Sequence[int],
    batch_size: int,
    inputs_length: int,
    eos_id: int,
    length_steps: int,
) -> np.ndarray:
    longest = max(len(inputs[i]) for i in members)
    length = inputs_bucket(longest, longest=inputs_length, steps=length_steps)
    array = np.zeros((batch_size, length), np.int32)
    array[:, 0] = eos_id  # a row of padding alone would attend to nothing
    for row, example in enumerate(members):
        if len(inputs[example]):
            array[row, : len(inputs[example])] = inputs[example]
    return array


def _choices_arrays(
    choices: Sequence[Sequence[Tokens]],
    members: Sequence[int],
    rows: int,
    lengths: Sequence[int],
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    counts = tuple(len(choices[i]) for i in members)
    # One example with more choices than a batch has rows gets a batch of its own, and larger.
    rows = rows if sum(counts) <= rows else 1 << (sum(counts) - 1).bit_length()
    tokens = np.zeros((rows, max(lengths[i] for i in members)), np.int32)
    for row, choice in enumerate(choice for i in members for choice in choices[i]):
        tokens[row, : len(choice)] = choice
    return tokens, deal_owners(counts, rows, batch_size), counts


def deal_owners(counts: Sequence[int], rows: int, batch_size: int) -> np.ndarray:
    """Owners of `rows` rows for choices, int32 `[rows]`: the first own `counts` rows each.

    The rows that are left, padding, are dealt out so that no owner has more than it must.
    """
    held = np.zeros(batch_size, np.int64)
    held[: len(counts)] = counts
    level = max(int(held.max()), -(-rows // batch_size))
    spare = np.repeat(np.arange(batch_size), level - held)
    owned = np.repeat(np.arange(batch_size), held)
    return np.concatenate([owned, spare[: rows - len(owned)]]).astype(np.int32)
