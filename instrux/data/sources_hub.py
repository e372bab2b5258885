"""Public datasets by name: the Hugging Face hub and TensorFlow Datasets.

Both look into local mirrors first (see `instrux.data.mirror`), so that a copy on disk needs
neither network nor library.
"""

import abc
import dataclasses
import weakref
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from instrux.data import hugging_face, mirror
from instrux.data.hub_location import (
    FieldChange,
    HubLocation,
    changed_names,
    changed_rows,
    changes_digest,
)
from instrux.data.hugging_face import HubDataset, HubError, first_line
from instrux.data.sources_base import BadRowHandler, Row, RowShard, RowSource
from instrux.data.sources_files import read_file_shard
from instrux.errors import InputError

_ROWS_PER_SHARD = 10_000


@dataclasses.dataclass(frozen=True)
class HubSource(RowSource):
    """A dataset that is in a mirror, or else behind a library."""

    def splits(self) -> list[str]:
        """Names of the splits there are."""
        mirrored = self._mirrored_files()
        return list(mirrored) if mirrored else self._remote_splits()

    def shards(self, split: str) -> list[RowShard]:
        """The split cut into runs of consecutive rows, in order."""
        if path := self._mirrored(split):
            return mirror.mirrored_shards(path, split)
        total = self._remote_num_rows(split)
        return [
            RowShard(split, first, min(_ROWS_PER_SHARD, total - first))
            for first in range(0, total, _ROWS_PER_SHARD)
        ]

    def read(
        self, shard: RowShard, *, on_bad_row: BadRowHandler | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Reads a shard's rows as (number in the split, row)."""
        rows = read_file_shard(shard, on_bad_row) if shard.path else self._remote_rows(shard)
        if not self._changes:
            return rows

        def where(number: int) -> str:
            return f"{shard.path or self.label}, row {number + 1}"

        return changed_rows(rows, self._changes, on_bad_row, where)

    def columns(self, split: str) -> tuple[str, ...] | None:
        """Names of the columns of a mirrored file or of the library's table."""
        path = self._mirrored(split)
        found = mirror.mirrored_columns(path) if path else self._remote_columns(split)
        return None if found is None else changed_names(found, self._changes)

    def location(self, split: str) -> str:
        """The split's file in a mirror."""
        return str(self._mirrored(split) or "")

    def fingerprint(self, split: str) -> str:
        """A digest of a mirrored file's bytes, or the library's own fingerprint."""
        path = self._mirrored(split)
        rows = mirror.mirrored_fingerprint(path) if path else self._remote_fingerprint(split)
        return f"{rows} fields:{changes_digest(self._changes)}" if self._changes else rows

    @property
    def _changes(self) -> tuple[FieldChange, ...]:
        """What is changed in every row, wherever it is read from."""
        return ()

    def _mirrored_files(self) -> dict[str, Path]:
        return mirror.mirrored_files(self.dataset, self.config)

    def _mirrored(self, split: str) -> Path | None:
        mirrored = self._mirrored_files()
        if mirrored:
            self.require_split(split, list(mirrored))
        return mirrored.get(split)

    @abc.abstractmethod
    def _remote_splits(self) -> list[str]: ...

    @abc.abstractmethod
    def _remote_num_rows(self, split: str) -> int: ...

    @abc.abstractmethod
    def _remote_rows(self, shard: RowShard) -> Iterator[tuple[int, Row]]: ...

    @abc.abstractmethod
    def _remote_columns(self, split: str) -> tuple[str, ...] | None: ...

    @abc.abstractmethod
    def _remote_fingerprint(self, split: str) -> str: ...


# --- Hugging Face --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class HuggingFaceSource(HubSource):
    """A dataset of the Hugging Face hub; needs the extra `hf` where no mirror has it.

    Attributes:
        revision: a commit, tag or branch of the dataset's repository; None is that of `location`,
            or else the newest.
        location: where it lies today if not under its own name, and what became of its fields.
            Mirrors and example ids keep the source's own name.
    """

    revision: str | None = None
    location: HubLocation | None = None

    @property
    def hub_dataset(self) -> HubDataset:
        """What is asked of the hub."""
        if self.location is None:
            return HubDataset(self.dataset, self.config, self.revision)
        location = self.location
        revision = location.revision if self.revision is None else self.revision
        return HubDataset(location.repository, location.config, revision, location.conversion)

    @property
    def _changes(self) -> tuple[FieldChange, ...]:
        return () if self.location is None else self.location.changes

    def _mirrored_files(self) -> dict[str, Path]:
        manual = None if self.location is None else self.location.manual
        names = dict(manual.names) if manual is not None else {}
        return mirror.mirrored_files(self.dataset, self.config, names)

    def _remote_splits(self) -> list[str]:
        self._refuse_manual()
        try:
            return hugging_face.split_names(self.hub_dataset)
        except HubError as error:
            raise self._problem(error) from error

    def _remote_num_rows(self, split: str) -> int:
        return len(self._dataset(split))

    def _remote_rows(self, shard: RowShard) -> Iterator[tuple[int, Row]]:
        rows = self._dataset(shard.split)
        chosen = rows.select(range(shard.first_row, shard.first_row + shard.num_rows))
        yield from enumerate(chosen, start=shard.first_row)

    def _remote_columns(self, split: str) -> tuple[str, ...] | None:
        return tuple(self._dataset(split).column_names)

    def _remote_fingerprint(self, split: str) -> str:
        return f"hf:{self._dataset(split)._fingerprint}"

    def _dataset(self, split: str) -> Any:
        self._refuse_manual()
        try:
            return _load_hugging_face(self.hub_dataset, split)
        except HubError as error:
            raise self._problem(error) from error

    def _refuse_manual(self) -> None:
        if self.location is None or self.location.manual is None:
            return
        manual = self.location.manual
        files = " and ".join(repr(name) for name, _ in manual.names)
        raise InputError(
            f"Dataset {self.label!r} is not public: {manual.how}, and put {files or 'its rows'} "
            f"{mirror.where(self.dataset, self.config)}."
        )

    def _problem(self, error: HubError) -> InputError:
        repository = self.hub_dataset.repository
        known = "" if repository == self.dataset else f" ({repository})"
        return InputError(
            f"Dataset {self.label!r}{known} cannot be had from the Hugging Face hub "
            f"({str(error).rstrip('.')}); put a copy of it "
            f"{mirror.where(self.dataset, self.config)}, as <split>.jsonl, .parquet or .csv."
        )


@lru_cache(maxsize=4)
def _load_hugging_face(dataset: HubDataset, split: str) -> Any:
    return hugging_face.load(dataset, split)


# --- TensorFlow Datasets -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class TfdsSource(HubSource):
    """A dataset of TensorFlow Datasets, prepared beforehand or downloaded on first use.

    Attributes:
        version: the dataset's version, as `1.0.0`; None is the newest.
        tfds_data_dir: where prepared datasets lie; None is the library's own default.
    """

    version: str | None = None
    tfds_data_dir: str | None = None

    def _remote_splits(self) -> list[str]:
        return list(self._builder().info.splits)

    def _remote_num_rows(self, split: str) -> int:
        self._prepare()
        self.require_split(split, self._remote_splits())
        return self._builder().info.splits[split].num_examples

    def _remote_rows(self, shard: RowShard) -> Iterator[tuple[int, Row]]:
        tfds = _tensorflow_datasets()
        instruction = f"{shard.split}[{shard.first_row}:{shard.first_row + shard.num_rows}]"
        config = tfds.ReadConfig(interleave_cycle_length=1)  # rows in their own order
        rows = self._builder().as_dataset(split=instruction, read_config=config)
        for number, row in enumerate(tfds.as_numpy(rows), start=shard.first_row):
            yield number, {key: _plain(value) for key, value in row.items()}

    def _remote_columns(self, split: str) -> tuple[str, ...] | None:
        del split
        features = self._builder().info.features
        return tuple(features) if isinstance(features, dict) else None

    def _remote_fingerprint(self, split: str) -> str:
        info = self._builder().info
        return f"tfds:{info.full_name}:{info.splits[split].num_bytes}"

    def _prepare(self) -> None:
        builder = self._builder()
        if builder.info.splits:
            return
        # Without a network each attempt takes minutes, and every split would make one.
        if failed := _unprepared.get(builder):
            raise InputError(failed)
        try:
            builder.download_and_prepare()
        except Exception as error:
            _unprepared[builder] = (
                f"Dataset {self.label!r} of TensorFlow Datasets cannot be prepared "
                f"({first_line(error)}); put a copy into a folder that {mirror.VARIABLE} names."
            )
            raise InputError(_unprepared[builder]) from error

    def _builder(self) -> Any:
        name = self.label if self.version is None else f"{self.label}:{self.version}"
        return _tfds_builder(name, self.tfds_data_dir)


_unprepared: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
"""Why builders of this process could not be prepared."""


@lru_cache(maxsize=128)
def _tfds_builder(name: str, data_dir: str | None) -> Any:
    try:
        return _tensorflow_datasets().builder(name, data_dir=data_dir)
    except Exception as error:
        raise InputError(
            f"Dataset {name!r} is not in TensorFlow Datasets ({first_line(error)}); "
            f"put a copy into a folder that {mirror.VARIABLE} names."
        ) from error


def _tensorflow_datasets() -> Any:
    import tensorflow_datasets

    return tensorflow_datasets


def _plain(value: Any) -> Any:
    """What TensorFlow Datasets gives as bytes and arrays, as text, numbers, lists and dicts."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
