"""Rows with the ids of a soft prompt in front of every example's inputs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from instrux.data.packed_rows import positions_in_segments
from instrux.errors import InputError


def with_prompts(
    batch: Mapping[str, np.ndarray], ids: np.ndarray, *, most_examples: int
) -> dict[str, np.ndarray]:
    """Puts the prompt in front of the inputs of each segment, whose tokens move back.

    Args:
        batch: features of `packed_rows.model_features`, `[batch, length]`; segments in order.
        ids: int32 `[prompt length]`.
        most_examples: examples of a row that there is room for.

    Returns:
        The batch with `encoder_` features of `length + prompt length * most_examples` positions.

    Raises:
        InputError: a row holds more examples.
    """
    segment_ids = batch["encoder_segment_ids"]
    # An example may have no inputs: its segment is known by its targets.
    found = max(int(segment_ids.max(initial=0)), int(batch["decoder_segment_ids"].max(initial=0)))
    if found > most_examples:
        raise InputError(
            f"soft prompt: a packed row holds {found} examples, and there is room for {most_examples}"
            f" prompts; set prompt_examples to {found} or more."
        )
    rows, length = segment_ids.shape
    room = len(ids) * most_examples
    segments = np.broadcast_to(
        np.arange(1, most_examples + 1, dtype=np.int32), (rows, most_examples)
    )
    held = np.arange(1, most_examples + 1) <= _count(batch)[:, None]
    of_prompts = np.repeat(np.where(held, segments, 0), len(ids), axis=1)
    joined = np.concatenate([of_prompts, segment_ids], axis=1)
    order = np.argsort(np.where(joined > 0, joined, most_examples + 1), axis=1, kind="stable")
    tokens = np.concatenate(
        [np.tile(ids, (rows, most_examples)), batch["encoder_input_tokens"]], axis=1
    )
    tokens = np.where(joined > 0, tokens, 0).astype(np.int32)
    moved = np.take_along_axis(joined, order, axis=1).astype(np.int32)
    assert moved.shape[1] == length + room
    return {
        **batch,
        "encoder_input_tokens": np.take_along_axis(tokens, order, axis=1),
        "encoder_segment_ids": moved,
        "encoder_positions": positions_in_segments(moved),
    }


def _count(batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Examples of each row, int `[batch]`."""
    return np.maximum(
        batch["encoder_segment_ids"].max(axis=1), batch["decoder_segment_ids"].max(axis=1)
    )


@dataclass(frozen=True)
class PromptedSource:
    """A source of encoder-decoder batches, read with a soft prompt before every example.

    Attributes:
        source: has `batches`, as `PackedDataset` does.
        ids: of the prompt.
        most_examples: examples of a row that there is room for.
    """

    source: Any
    ids: tuple[int, ...]
    most_examples: int

    def batches(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, np.ndarray]]:
        """As the source's own, each batch through `with_prompts`."""
        ids = np.asarray(self.ids, np.int32)
        for batch in self.source.batches(*args, **kwargs):
            yield with_prompts(batch, ids, most_examples=self.most_examples)
