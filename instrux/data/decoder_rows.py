"""Rows for a decoder-only model: each example's inputs and targets one after the other.

The features are those of `seqio.PrefixLMFeatureConverter(pack=True)`: `decoder_target_tokens`,
`decoder_input_tokens` (shifted right in each segment, 0 first), `decoder_loss_weights` (1 on
targets, 0 on prompts and padding), `decoder_causal_attention` (1 where the token that is fed
belongs to the prompt or is the 0 before it), `decoder_segment_ids` and `decoder_positions`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from instrux.data.packed_rows import TASK_IDS, positions_in_segments, shifted_right


def decoder_only_features(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Joins the two sides of an encoder-decoder batch.

    Segment by segment, inputs then targets; padding goes to the end. A row gets as many positions
    as both sides had, so what either side left empty stays empty.

    Args:
        batch: features of `packed_rows.model_features`, `[batch, length]`.

    Returns:
        int32 arrays `[batch, inputs_length + targets_length]`.
    """
    inputs, targets = batch["encoder_input_tokens"], batch["decoder_target_tokens"]
    tokens = np.concatenate([inputs, targets], axis=1)
    segment_ids = np.concatenate(
        [batch["encoder_segment_ids"], batch["decoder_segment_ids"]], axis=1
    )
    is_target = np.zeros(tokens.shape, np.int32)
    is_target[:, inputs.shape[1] :] = 1
    key = np.where(segment_ids > 0, 2 * segment_ids + is_target, np.iinfo(np.int32).max)
    order = np.argsort(key, axis=1, kind="stable")
    joined = [
        np.take_along_axis(array, order, axis=1) for array in (tokens, segment_ids, is_target)
    ]
    features = language_model_features(*joined)
    if TASK_IDS in batch:
        slots = np.zeros((len(tokens), int(segment_ids.max(initial=0)) + 1), np.int32)
        slots[:, 0] = -1
        rows = np.arange(len(tokens))[:, None]
        slots[rows, batch["decoder_segment_ids"]] = batch[TASK_IDS]
        features[TASK_IDS] = slots[rows, features["decoder_segment_ids"]]
    return features


def joined_features(rows: np.ndarray, *, task_ids: bool = False) -> dict[str, np.ndarray]:
    """Gives the features of rows that were packed joined.

    Args:
        rows: `[batch]` of a `RowLayout`'s dtype.
        task_ids: whether to add `decoder_task_ids`, the task's number in the manifest for every
            token, -1 on padding.

    Returns:
        int32 arrays `[batch, row length]`, as those of `decoder_only_features`.
    """
    features = language_model_features(rows["tokens"], rows["segment_ids"], rows["is_target"])
    if task_ids:
        segment_ids = features["decoder_segment_ids"]
        tasks = rows["segment_tasks"].astype(np.int32)
        of_token = np.take_along_axis(tasks, np.maximum(segment_ids - 1, 0), axis=1)
        features[TASK_IDS] = np.where(segment_ids != 0, of_token, np.int32(-1))
    return features


def language_model_features(
    tokens: np.ndarray, segment_ids: np.ndarray, is_target: np.ndarray
) -> dict[str, np.ndarray]:
    """Gives the features of rows that hold prompts and targets.

    Args:
        tokens: ids `[batch, length]`, 0 on padding.
        segment_ids: `[batch, length]`, 0 on padding, each segment in one piece.
        is_target: `[batch, length]`, 1 for tokens of targets, behind their prompt.
    """
    tokens, segment_ids = tokens.astype(np.int32), segment_ids.astype(np.int32)
    positions = positions_in_segments(segment_ids)
    held = segment_ids != 0
    of_target = (is_target != 0) & held
    return {
        "decoder_target_tokens": np.where(held, tokens, 0),
        "decoder_input_tokens": shifted_right(np.where(held, tokens, 0), positions),
        "decoder_loss_weights": of_target.astype(np.int32),
        "decoder_causal_attention": (held & (shifted_right(of_target, positions) == 0)).astype(
            np.int32
        ),
        "decoder_segment_ids": segment_ids,
        "decoder_positions": positions,
    }


@dataclass(frozen=True)
class DecoderOnlySource:
    """A source of encoder-decoder batches, read as rows for a decoder-only model.

    Attributes:
        source: has `batches`, as `PackedDataset` does.
    """

    source: Any

    def batches(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, np.ndarray]]:
        """As the source's own, each batch through `decoder_only_features`."""
        return map(decoder_only_features, self.source.batches(*args, **kwargs))
