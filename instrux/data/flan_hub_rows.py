"""Rows of FLAN's datasets as the Hugging Face hub has them, as TensorFlow Datasets would give them.

Where TensorFlow Datasets cannot download, a mirror of rows in the hub's schema (JSON lines) stands
in for it. Most fields have the same names; the others are changed here.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from instrux.data.sources_base import BadRowHandler, Row, RowShard, RowSource
from instrux.data.sources_hub import HuggingFaceSource
from instrux.errors import InputError

# ClassLabel of the hub since 2022 -> of TensorFlow Datasets.
_TREC_LABELS = (2, 1, 0, 3, 5, 4)
_LETTERS = "ABCD"
_DIGITS = "1234"


def _anli(row: Row) -> Row:
    return {**row, "context": row["premise"]}


def _bool_q(row: Row) -> Row:
    # SuperGLUE puts the title before the passage.
    title, mark, passage = row["passage"].partition(" -- ")
    if not mark:
        title, passage = "", row["passage"]
    return {**row, "title": title, "passage": passage, "answer": row["label"]}


def _hellaswag(row: Row) -> Row:
    return {**row, "context": row["ctx"]}


def _winogrande(row: Row) -> Row:
    return {**row, "label": int(row["answer"]) - 1}


def _arc(row: Row) -> Row:
    key = row["answerKey"]
    names = _LETTERS if key in _LETTERS else _DIGITS
    return {**row, "answerKey": names.index(key)}


def _trec(row: Row) -> Row:
    return {**row, "label-coarse": _TREC_LABELS[row["coarse_label"]]}


def _squad_v2(row: Row) -> Row:
    return {**row, "is_impossible": not row["answers"]["text"]}


def _common_gen(row: Row) -> Row:
    return {**row, "references": [row["target"]]}


_CHANGES: Mapping[str, Callable[[Row], Row]] = {
    "anli_r1": _anli,
    "anli_r2": _anli,
    "anli_r3": _anli,
    "arc_challenge": _arc,
    "arc_easy": _arc,
    "bool_q": _bool_q,
    "common_gen": _common_gen,
    "hellaswag": _hellaswag,
    "squad_v2": _squad_v2,
    "trec": _trec,
    "winogrande": _winogrande,
}


def as_tfds(dataset: str, row: Row) -> Row:
    """Gives a row of the hub's schema with the fields that TensorFlow Datasets has.

    Args:
        dataset: its name in FLAN's registry, such as `anli_r1`.
        row: as the hub has it.

    Raises:
        InputError: a field is missing, or is not what it should be.
    """
    change = _CHANGES.get(dataset)
    try:
        return row if change is None else change(row)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{dataset}: a row is not as the hub has it ({detail}); it has {', '.join(row)}"
        ) from error


@dataclasses.dataclass(frozen=True)
class FlanHubSource(RowSource):
    """A FLAN dataset's rows from the hub, or a mirror of it, as TensorFlow Datasets would give them.

    Attributes:
        flan_dataset: its name in FLAN's registry.
        source: where the rows come from.
    """

    flan_dataset: str = dataclasses.field(kw_only=True)
    source: HuggingFaceSource = dataclasses.field(kw_only=True)

    def splits(self) -> list[str]:
        """The hub's splits."""
        return self.source.splits()

    def shards(self, split: str) -> list[RowShard]:
        """The hub's shards."""
        return self.source.shards(split)

    def read(
        self, shard: RowShard, *, on_bad_row: BadRowHandler | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Reads a shard's rows as (number in the hub's split, row)."""
        for number, row in self.source.read(shard, on_bad_row=on_bad_row):
            changed = self._changed(number, row, shard, on_bad_row)
            if changed is not None:
                yield number, changed

    def _changed(
        self, number: int, row: Row, shard: RowShard, on_bad_row: BadRowHandler | None
    ) -> Row | None:
        try:
            return as_tfds(self.flan_dataset, row)
        except InputError as problem:
            error = InputError(f"{shard.path or self.source.label}, row {number + 1}: {problem}.")
            if on_bad_row is None:
                raise error from problem
            on_bad_row(number, error)
            return None

    def fingerprint(self, split: str) -> str:
        """The hub's, and whose fields are changed."""
        return f"{self.source.fingerprint(split)} as:{self.flan_dataset}"


def hub_source(
    flan_dataset: str, tfds: tuple[str, str | None], hub: tuple[str, str | None]
) -> FlanHubSource:
    """Gives the source of a dataset's rows; reads nothing.

    Args:
        flan_dataset: its name in FLAN's registry.
        tfds: name and configuration in TensorFlow Datasets, by which rows and results are known.
        hub: the same on the hub, where the rows lie.
    """
    fields: dict[str, Any] = {"flan_dataset": flan_dataset, "source": HuggingFaceSource(*hub)}
    return FlanHubSource(*tfds, **fields)
