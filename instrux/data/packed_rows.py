"""The rows of a packed dataset: how they lie on disk, and the model's features made of them.

A row is one fixed-size record: token ids and segment ids of both sides in the narrowest integers
that hold them, and the task of every segment. Joined rows, for decoder-only models, have one side,
with each example's inputs and targets one after the other (`decoder_rows`). What follows from these (positions, shifted
targets, loss weights) is computed on reading. The features are those of
`seqio.EncDecFeatureConverter(pack=True)`, all int32.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TASK_IDS = "decoder_task_ids"
"""Name of the optional feature that tells the task of every target token; -1 on padding."""


@dataclass(frozen=True)
class RowLayout:
    """The shape of a packed row.

    Attributes:
        inputs_length: encoder positions a row.
        targets_length: decoder positions a row.
        vocab_size: token ids are below it.
        num_tasks: task numbers are below it.
        joined: whether a row is one sequence of `inputs_length + targets_length` positions, filled
            with whole examples.
    """

    inputs_length: int
    targets_length: int
    vocab_size: int
    num_tasks: int
    joined: bool = False

    @property
    def row_length(self) -> int:
        """Positions of a row, of both sides together."""
        return self.inputs_length + self.targets_length

    @property
    def room(self) -> tuple[int, int]:
        """What a row has room for, in the two dimensions of `sizes`."""
        return (self.row_length, 1) if self.joined else (self.inputs_length, self.targets_length)

    @property
    def open_to(self) -> tuple[int, int]:
        """Positions of a row that inputs may take, and targets."""
        return (self.row_length, self.row_length) if self.joined else self.room

    def sizes(self, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each example takes: inputs and targets, or both together and nothing.

        Args:
            heads: structured, with `inputs_length` and `targets_length`.
        """
        inputs, targets = (
            heads[f"{side}_length"].astype(np.int64) for side in ("inputs", "targets")
        )
        return (inputs + targets, np.zeros_like(targets)) if self.joined else (inputs, targets)

    @property
    def dtype(self) -> np.dtype:
        """The structured type of a row, little-endian.

        A segment has at least one target (end of sequence), so a row has at most
        `targets_length` segments; slot `s` of `segment_tasks` is the task of segment `s + 1`.
        """
        token = _narrowest(self.vocab_size)
        if self.joined:
            length = (self.row_length,)
            return np.dtype(
                [
                    ("tokens", token, length),
                    ("segment_ids", _narrowest(self.row_length + 1), length),
                    ("is_target", "u1", length),
                    ("segment_tasks", _narrowest(self.num_tasks), length),
                ]
            )
        segment = _narrowest(self.targets_length + 1)
        return np.dtype(
            [
                ("encoder_input_tokens", token, (self.inputs_length,)),
                ("encoder_segment_ids", segment, (self.inputs_length,)),
                ("decoder_target_tokens", token, (self.targets_length,)),
                ("decoder_segment_ids", segment, (self.targets_length,)),
                ("segment_tasks", _narrowest(self.num_tasks), (self.targets_length,)),
            ]
        )


def _narrowest(bound: int) -> str:
    """Names the narrowest unsigned integer type that holds `bound - 1`."""
    return "u1" if bound <= 1 << 8 else "<u2" if bound <= 1 << 16 else "<u4"


def rows_from_records(records: Sequence[bytes], layout: RowLayout) -> np.ndarray:
    """Views records as rows, `[len(records)]` of `layout.dtype`, read-only."""
    return np.frombuffer(b"".join(records), dtype=layout.dtype)


def positions_in_segments(segment_ids: np.ndarray) -> np.ndarray:
    """Numbers the positions of each segment from 0.

    Args:
        segment_ids: `[batch, length]`, 0 on padding, each segment in one piece.

    Returns:
        int32 `[batch, length]`, 0 on padding.
    """
    length = segment_ids.shape[1]
    index = np.arange(length, dtype=np.int32)
    starts = np.ones(segment_ids.shape, bool)
    starts[:, 1:] = segment_ids[:, 1:] != segment_ids[:, :-1]
    first = np.maximum.accumulate(np.where(starts, index, 0), axis=1)
    return np.where(segment_ids != 0, index - first, 0).astype(np.int32)


def shifted_right(tokens: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Moves `[batch, length]` right by one within each segment; 0 where a position is 0."""
    shifted = np.zeros_like(tokens)
    shifted[:, 1:] = tokens[:, :-1]
    shifted[positions == 0] = 0
    return shifted


def model_features(rows: np.ndarray, *, task_ids: bool = False) -> dict[str, np.ndarray]:
    """Gives the model's features of packed rows.

    Args:
        rows: `[batch]` of a `RowLayout`'s dtype.
        task_ids: whether to add `decoder_task_ids`, the task's number in the manifest for every
            target token, -1 on padding.

    Returns:
        int32 arrays, `[batch, inputs_length]` those of the encoder and `[batch, targets_length]`
        those of the decoder, under SeqIO's names.
    """
    encoder_segment_ids = rows["encoder_segment_ids"].astype(np.int32)
    decoder_segment_ids = rows["decoder_segment_ids"].astype(np.int32)
    decoder_target_tokens = rows["decoder_target_tokens"].astype(np.int32)
    decoder_positions = positions_in_segments(decoder_segment_ids)
    decoder_input_tokens = shifted_right(decoder_target_tokens, decoder_positions)
    features = {
        "encoder_input_tokens": rows["encoder_input_tokens"].astype(np.int32),
        "encoder_segment_ids": encoder_segment_ids,
        "encoder_positions": positions_in_segments(encoder_segment_ids),
        "decoder_target_tokens": decoder_target_tokens,
        "decoder_input_tokens": decoder_input_tokens,
        "decoder_loss_weights": (decoder_segment_ids != 0).astype(np.int32),
        "decoder_segment_ids": decoder_segment_ids,
        "decoder_positions": decoder_positions,
    }
    if task_ids:
        tasks = rows["segment_tasks"].astype(np.int32)
        slots = np.maximum(decoder_segment_ids - 1, 0)
        of_token = np.take_along_axis(tasks, slots, axis=1)
        features[TASK_IDS] = np.where(decoder_segment_ids != 0, of_token, np.int32(-1))
    return features
