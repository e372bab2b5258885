"""Tokenised examples on their way to the shard that packs them: arrays, and flat bytes of them.

A mixture has millions of examples, and Beam spends tens of microseconds on each element, so
examples of one task that go to the same shard travel together in a block.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from instrux.data.sampling import TaskSample, mixed_bits, stable_key
from instrux.data.vocabularies import Vocabulary

_COUNT_BYTES = 8

HEAD = np.dtype(
    [
        ("order", "<u8"),
        ("position", "<u8"),
        ("task", "<u4"),
        ("repeat", "<u4"),
        ("inputs_length", "<u4"),
        ("targets_length", "<u4"),
        ("inputs_truncated", "?"),
        ("targets_truncated", "?"),
    ]
)
"""What is known of an example besides its tokens. `order` is its place in the global shuffle;
task, position in the task and repeat tell it from all others."""

_IDENTITY = ("order", "position", "task", "repeat")


@dataclass(frozen=True)
class ExampleBlock:
    """Tokenised examples.

    Attributes:
        heads: structured, one an example.
        tokens: uint32; of every example its inputs, then its targets.
    """

    heads: np.ndarray
    tokens: np.ndarray

    def to_bytes(self) -> bytes:
        """As one element of a collection."""
        count = len(self.heads).to_bytes(_COUNT_BYTES, "little")
        return count + self.heads.tobytes() + self.tokens.astype("<u4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ExampleBlock":
        """From one element of a collection."""
        count = int.from_bytes(data[:_COUNT_BYTES], "little")
        tokens_start = _COUNT_BYTES + count * HEAD.itemsize
        return cls(
            heads=np.frombuffer(data, HEAD, count=count, offset=_COUNT_BYTES),
            tokens=np.frombuffer(data, "<u4", offset=tokens_start),
        )

    @classmethod
    def join(cls, blocks: Iterable["ExampleBlock"]) -> "ExampleBlock":
        """Puts blocks together."""
        blocks = list(blocks)
        return cls(
            heads=np.concatenate([block.heads for block in blocks]),
            tokens=np.concatenate([block.tokens for block in blocks]),
        )

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, both sides."""
        return self.heads["inputs_length"].astype(np.int64) + self.heads["targets_length"]

    def take(self, indices: np.ndarray) -> "ExampleBlock":
        """Gives the examples at `indices`, in that order; an index may come more than once."""
        lengths = self.lengths
        starts = np.cumsum(lengths) - lengths
        return ExampleBlock(
            heads=self.heads[indices],
            tokens=self.tokens[ranges(starts[indices], lengths[indices])],
        )

    def in_global_order(self) -> "ExampleBlock":
        """Gives the examples in the order of the global shuffle, whatever order they came in."""
        heads = self.heads
        keys = (heads["repeat"], heads["position"], heads["task"], heads["order"])
        return self.take(np.lexsort(keys))


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Joins `range(start, start + length)` of all pairs into one int64 array."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)


@dataclass(frozen=True)
class Tokenizer:
    """Turns text into examples that fit a row.

    Attributes:
        vocabulary: gives the token ids.
        inputs_length: longer inputs are cut to it.
        targets_length: longer targets are cut to it; their last token is the end of sequence.
        inputs_eos: whether inputs end with the end of sequence, too.
    """

    vocabulary: Vocabulary
    inputs_length: int
    targets_length: int
    inputs_eos: bool

    def block(self, inputs: Sequence[str], targets: Sequence[str]) -> ExampleBlock:
        """Tokenises examples; what tells them from others is not set yet."""
        end = [self.vocabulary.eos_id]
        sides = (
            self._encode(inputs, self.inputs_length, end if self.inputs_eos else []),
            self._encode(targets, self.targets_length, end),
        )
        heads = np.zeros(len(inputs), HEAD)
        for name, (ids, truncated) in zip(("inputs", "targets"), sides, strict=True):
            heads[f"{name}_length"] = [len(tokens) for tokens in ids]
            heads[f"{name}_truncated"] = truncated
        pairs = zip(sides[0][0], sides[1][0], strict=True)
        tokens = [token for pair in pairs for ids in pair for token in ids]
        return ExampleBlock(heads, np.array(tokens, np.uint32))

    def _encode(
        self, texts: Sequence[str], length: int, end: list[int]
    ) -> tuple[list[list[int]], list[bool]]:
        encoded = self.vocabulary.encode_batch(texts)
        room = length - len(end)
        return [ids[:room] + end for ids in encoded], [len(ids) > room for ids in encoded]


@dataclass(frozen=True)
class Copies:
    """The examples that a mixture takes out of some of a task's, one entry a repeat.

    Attributes:
        source: which of the examples asked about it is, int64.
        heads: structured as `HEAD`, with nothing of the tokens set.
        shard: the shard that packs it, int64.
    """

    source: np.ndarray
    heads: np.ndarray
    shard: np.ndarray

    def of_shards(self, shards: range) -> "Copies":
        """Gives those that go to some shards."""
        kept = (self.shard >= shards.start) & (self.shard < shards.stop)
        return Copies(self.source[kept], self.heads[kept], self.shard[kept])

    def with_tokens(self, block: ExampleBlock) -> ExampleBlock:
        """Gives every copy the tokens of its example; `block` has those that occur, in order."""
        _, index = np.unique(self.source, return_inverse=True)
        copies = block.take(index)
        heads = copies.heads.copy()
        for name in _IDENTITY:
            heads[name] = self.heads[name]
        return dataclasses.replace(copies, heads=heads)


def draw_copies(sample: TaskSample, positions: np.ndarray, *, task: int, num_shards: int) -> Copies:
    """Repeats a task's examples as the mixture asks, and gives every copy its place and shard.

    Args:
        sample: how often each example is taken.
        positions: places of the examples in the task, int64.
        task: the task's number.
        num_shards: how many shards there are.
    """
    repeats = sample.repeats(positions)
    source = np.repeat(np.arange(len(positions)), repeats)
    heads = np.zeros(len(source), HEAD)
    heads["task"] = task
    heads["position"] = positions[source]
    heads["repeat"] = np.arange(len(source)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    # By the task's name: its number changes when a task is added to the mixture.
    key = stable_key("order", sample.seed, sample.task)
    of_position = mixed_bits(heads["position"], key)
    heads["order"] = mixed_bits(of_position ^ heads["repeat"].astype(np.uint64), key)
    of_shard = mixed_bits(heads["order"], stable_key("shard", sample.seed))
    return Copies(source, heads, (of_shard % np.uint64(num_shards)).astype(np.int64))
