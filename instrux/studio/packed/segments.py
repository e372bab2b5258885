"""A packed row taken apart: its segments, their tasks and texts, and how full it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instrux.data.packed_manifest import PackManifest
from instrux.data.vocabularies import Vocabulary, VocabularySpec
from instrux.errors import InputError

COLOURS = 6


@dataclass(frozen=True)
class Side:
    """One side of a segment.

    Attributes:
        start: its first position.
        ids: its token ids.
        text: what they say; None where there is no vocabulary.
        pieces: each token's own text; () where there is no vocabulary.
    """

    start: int
    ids: tuple[int, ...]
    text: str | None
    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Segment:
    """One example in a row.

    Attributes:
        number: from 1, as segment ids are.
        task: its task's name.
        inputs: the encoder's part.
        targets: the decoder's part.
    """

    number: int
    task: str
    inputs: Side
    targets: Side

    @property
    def colour(self) -> int:
        """Which of the colours it has; neighbours differ."""
        return (self.number - 1) % COLOURS


@dataclass(frozen=True)
class Row:
    """A packed row: its number, segments, and the share of positions with a token, by side."""

    number: int
    segments: tuple[Segment, ...]
    inputs_fill: float
    targets_fill: float


def vocabulary_of(manifest: PackManifest) -> tuple[Vocabulary | None, str]:
    """The vocabulary a set was packed with, or None and why it cannot be had."""
    packed = manifest.settings["vocabulary"]
    spec = VocabularySpec.parse(f"{manifest.vocabulary_path or 'bytes'}:{packed['extra_ids']}")
    try:
        if spec.digest() != packed["digest"]:
            return None, f"{manifest.vocabulary_path} is no longer what the rows were made with."
        return spec.load(), ""
    except (InputError, OSError) as error:
        return None, str(error)


def rows_of(
    records: np.ndarray,
    numbers: Sequence[int],
    manifest: PackManifest,
    vocabulary: Vocabulary | None,
) -> list[Row]:
    """Takes rows apart.

    Args:
        records: `[rows]` of the layout's dtype.
        numbers: their numbers in the set.
        manifest: the set's.
        vocabulary: to decode with, or None.
    """
    return [
        _row(record, number, manifest, vocabulary)
        for record, number in zip(records, numbers, strict=True)
    ]


def _row(
    record: np.void, number: int, manifest: PackManifest, vocabulary: Vocabulary | None
) -> Row:
    tokens, encoder, decoder = _sides(record, manifest)
    segments = []
    for segment in range(1, int(decoder.max(initial=0)) + 1):
        task = int(record["segment_tasks"][segment - 1])
        inputs = _side(tokens[0], encoder == segment, vocabulary)
        targets = _side(tokens[1], decoder == segment, vocabulary)
        segments.append(Segment(segment, manifest.tasks[task].name, inputs, targets))
    fill = float(np.mean(encoder != 0)), float(np.mean(decoder != 0))
    return Row(number, tuple(segments), *fill)


def _sides(
    record: np.void, manifest: PackManifest
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """The tokens of both sides, and the segment ids of each; of a joined row both are all of it."""
    if not manifest.layout.joined:
        tokens = record["encoder_input_tokens"], record["decoder_target_tokens"]
        return tokens, record["encoder_segment_ids"], record["decoder_segment_ids"]
    segments, of_target = record["segment_ids"], record["is_target"] != 0
    tokens = record["tokens"], record["tokens"]
    return tokens, np.where(of_target, 0, segments), np.where(of_target, segments, 0)


def _side(tokens: np.ndarray, within: np.ndarray, vocabulary: Vocabulary | None) -> Side:
    ids = tuple(map(int, tokens[within]))
    start = int(np.argmax(within))
    if vocabulary is None:
        return Side(start, ids, None, ())
    end = vocabulary.eos_id
    pieces = tuple("⏹" if token == end else vocabulary.decode([token]) for token in ids)
    return Side(start, ids, vocabulary.decode(ids), pieces)
