"""Packs one shard: tokenised examples in any order in, rows and what they hold out."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from instrux.data.pack_blocks import ExampleBlock, ranges
from instrux.data.packed_manifest import PackedShard
from instrux.data.packed_rows import RowLayout
from instrux.data.packing import pack
from instrux.data.packing_bounds import length_counts
from instrux.data.sampling import mixed_bits, stable_key

TASK_COUNTS = (
    "examples",
    "inputs_tokens",
    "targets_tokens",
    "inputs_truncated",
    "targets_truncated",
)


@dataclass(frozen=True)
class ShardReport:
    """What a shard holds.

    Attributes:
        shard: its file.
        task_counts: `TASK_COUNTS` of every task that has an example here, by the task's number.
        sizes: the sizes of its examples: both numbers of `RowLayout.sizes`, and how many have them.
    """

    shard: PackedShard
    task_counts: dict[int, list[int]]
    sizes: list[list[int]]

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ShardReport":
        """Reads what `to_json` wrote."""
        content = json.loads(text)
        return cls(
            shard=PackedShard(**content["shard"]),
            task_counts={int(task): counts for task, counts in content["task_counts"].items()},
            sizes=content["sizes"],
        )


def pack_shard(
    blocks: Iterable[bytes],
    layout: RowLayout,
    *,
    seed: int,
    shard: int,
    one_example_a_row: bool = False,
) -> tuple[np.ndarray, ExampleBlock]:
    """Packs the examples of a shard.

    The result depends on the examples alone, not on the order in which they come.

    Args:
        blocks: `ExampleBlock`s as bytes.
        layout: of the rows.
        seed: of the order of the rows.
        shard: the shard's number.
        one_example_a_row: whether every example has a row of its own.

    Returns:
        The rows, `[rows]` of the layout's dtype, in shuffled order; and the examples.
    """
    examples = ExampleBlock.join(map(ExampleBlock.from_bytes, blocks)).in_global_order()
    if one_example_a_row:
        row_of_example = np.arange(len(examples.heads))
    else:
        room = dict(zip(("inputs_length", "targets_length"), layout.room, strict=True))
        row_of_example = pack(*layout.sizes(examples.heads), **room)
    num_rows = int(row_of_example.max()) + 1
    shuffled = np.empty(num_rows, np.int64)
    keys = mixed_bits(np.arange(num_rows), stable_key("rows", seed, shard))
    shuffled[np.argsort(keys, kind="stable")] = np.arange(num_rows)
    return _write_rows(examples, shuffled[row_of_example], num_rows, layout), examples


def _write_rows(
    examples: ExampleBlock, row_of_example: np.ndarray, num_rows: int, layout: RowLayout
) -> np.ndarray:
    """Lays the examples out, those of a row one after the other in their order."""
    by_row = np.argsort(row_of_example, kind="stable")
    examples, row = examples.take(by_row), row_of_example[by_row]
    first_of_row = np.searchsorted(row, row)
    segment = np.arange(len(row)) - first_of_row + 1
    rows = np.zeros(num_rows, layout.dtype)
    rows["segment_tasks"][row, segment - 1] = examples.heads["task"]
    if layout.joined:
        _fill_joined(rows, examples, row, segment)
        return rows
    inputs_lengths = examples.heads["inputs_length"].astype(np.int64)
    targets_lengths = examples.heads["targets_length"].astype(np.int64)
    example_starts = np.cumsum(examples.lengths) - examples.lengths
    for token_field, segment_field, lengths, starts in (
        ("encoder_input_tokens", "encoder_segment_ids", inputs_lengths, example_starts),
        (
            "decoder_target_tokens",
            "decoder_segment_ids",
            targets_lengths,
            example_starts + inputs_lengths,
        ),
    ):
        before = np.cumsum(lengths) - lengths
        place = ranges(before - before[first_of_row], lengths)
        where = np.repeat(row, lengths), place
        rows[token_field][where] = examples.tokens[ranges(starts, lengths)]
        rows[segment_field][where] = np.repeat(segment, lengths)
    return rows


def _fill_joined(
    rows: np.ndarray, examples: ExampleBlock, row: np.ndarray, segment: np.ndarray
) -> None:
    """Lays examples out in joined rows, in the order they come in, which is by rows."""
    lengths = examples.lengths
    before = np.cumsum(lengths) - lengths
    place = ranges(before - before[np.searchsorted(row, row)], lengths)
    where = np.repeat(row, lengths), place
    rows["tokens"][where] = examples.tokens
    rows["segment_ids"][where] = np.repeat(segment, lengths)
    within = ranges(np.zeros_like(lengths), lengths)
    rows["is_target"][where] = within >= np.repeat(examples.heads["inputs_length"], lengths)


def shard_report(examples: ExampleBlock, layout: RowLayout, shard: PackedShard) -> ShardReport:
    """Counts what a shard holds."""
    heads = examples.heads
    tasks, task = np.unique(heads["task"], return_inverse=True)
    weights = (
        np.ones(len(heads)),
        heads["inputs_length"],
        heads["targets_length"],
        heads["inputs_truncated"],
        heads["targets_truncated"],
    )
    sums = np.stack([np.bincount(task, weights=weight) for weight in weights], axis=1)
    room = dict(zip(("inputs_length", "targets_length"), layout.room, strict=True))
    counts = length_counts(*layout.sizes(heads), **room)
    sizes = np.argwhere(counts)
    return ShardReport(
        shard=shard,
        task_counts={
            int(number): [int(value) for value in row]
            for number, row in zip(tasks, sums, strict=True)
        },
        sizes=np.column_stack([sizes, counts[tuple(sizes.T)]]).tolist(),
    )
