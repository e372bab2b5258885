"""Reads a packed dataset: endless, reshuffled batches that resume at any step.

Batch `k` is a function of the data, the seed and `k` alone: nothing but the step number needs to
be kept to go on where a run stopped. Imports no TensorFlow.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import grain
import numpy as np

from instrux.data.decoder_rows import joined_features
from instrux.data.files import size_and_digest
from instrux.data.packed_manifest import (
    MANIFEST_NAME,
    PackedShard,
    PackManifest,
    PackSettings,
    read_manifest,
)
from instrux.data.packed_rows import model_features, rows_from_records
from instrux.data.sampling import permuted
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError

__all__ = ["PackManifest", "PackSettings", "PackedDataset"]

_VERIFY_UP_TO_BYTES = 512 * 2**20
_ENDLESS = 2**62
_ORDER_AT_ONCE = 1024


class PackedDataset:
    """A packed dataset on disk.

    Attributes:
        folder: where it lies.
        manifest: what it holds.
    """

    def __init__(self, folder: str | Path, *, verify: bool | None = None) -> None:
        """Opens and checks the dataset.

        Args:
            folder: the dataset's own folder, such as `PackSettings.folder` gives.
            verify: whether to compare every file with its checksum; None does so up to 512 MiB
                in all, since a large set would take minutes. Sizes are always compared.

        Raises:
            InputError: the dataset is absent, incomplete, or not what its manifest says.
        """
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        try:
            self.manifest.require_readable()
        except ValueError as error:
            raise InputError(
                f"{self.folder / MANIFEST_NAME}: cannot be read ({error}); run `instrux pack` again"
            ) from error
        self._check_sizes()
        if verify is None:
            verify = sum(shard.size for shard in self.manifest.shards) <= _VERIFY_UP_TO_BYTES
        if verify:
            self.verify()
        shards = [shard for shard in self.manifest.shards if shard.rows]
        files: Any = [_WholeFile(str(self.folder / shard.name), shard.rows) for shard in shards]
        self._records: Any = grain.sources.ArrayRecordDataSource(files)

    def __len__(self) -> int:
        """Number of packed rows."""
        return self.manifest.rows

    def verify(self) -> None:
        """Compares every file with its checksum.

        Raises:
            InputError: a file differs; the message names it.
        """
        for shard in self.manifest.shards:
            if size_and_digest(self.folder / shard.name)[1] != shard.sha256:
                raise self._damaged(shard, "its checksum is not the manifest's")

    def check_vocabulary(self, spec: VocabularySpec) -> None:
        """Checks that text tokenised with `spec` has the ids that were packed.

        Raises:
            InputError: the vocabulary's content or its number of extra ids differs.
        """
        packed = self.manifest.settings["vocabulary"]
        digest = spec.digest()
        if (digest, spec.extra_ids) != (packed["digest"], packed["extra_ids"]):
            raise InputError(
                f"{self.folder}: packed with vocabulary {packed['digest']} and {packed['extra_ids']} extra ids "
                f"({self.manifest.vocabulary_path or 'bytes'}), but {spec} is {digest} and {spec.extra_ids}; "
                "use that vocabulary or pack again with this one"
            )

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Reads the packed rows at `indices`, `[len(indices)]` of the layout's dtype.

        Raises:
            InputError: a record cannot be read.
        """
        try:
            # One by one: reading a list starts a pool of threads each time, and takes twice as long.
            records = [self._records[int(index)] for index in indices]
            return rows_from_records(records, self.manifest.layout)
        except (RuntimeError, ValueError, IndexError) as error:
            raise InputError(
                f"{self.folder}: a shard cannot be read ({str(error).splitlines()[0]}); run `instrux pack` again"
            ) from error

    def batch(
        self,
        step: int,
        batch_size: int,
        seed: int,
        *,
        process_index: int = 0,
        process_count: int = 1,
        task_ids: bool = False,
    ) -> dict[str, np.ndarray]:
        """Gives this process's part of batch `step`; see `batches`."""
        share = _share(batch_size, process_index, process_count)
        drawn = np.arange(share.start, share.stop) + step * batch_size
        features = joined_features if self.manifest.layout.joined else model_features
        return features(self.rows(self._order(drawn, seed)), task_ids=task_ids)

    def _order(self, drawn: np.ndarray, seed: int) -> np.ndarray:
        """Gives the rows that are drawn at consecutive places of the endless order of a seed."""
        first = int(drawn[0]) // _ORDER_AT_ONCE
        blocks = range(first, int(drawn[-1]) // _ORDER_AT_ONCE + 1)
        order = np.concatenate([_order_block(len(self), seed, block) for block in blocks])
        return order[drawn - first * _ORDER_AT_ONCE]

    def batches(
        self,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
        *,
        task_ids: bool = False,
        threads: int = 2,
        prefetch: int = 4,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Gives batches for ever, every row once an epoch, in another order each epoch.

        Rows of two epochs may meet in one batch, so that none is left out.

        Args:
            batch_size: rows of a batch over all processes.
            seed: chooses the order.
            start_step: the first batch to give.
            process_index: which process this is.
            process_count: how many processes share each batch, in equal consecutive parts.
            task_ids: whether to add `decoder_task_ids` (see `packed_rows.model_features`).
            threads: threads that read ahead; 0 reads in the caller's.
            prefetch: batches that are read ahead.

        Returns:
            A Grain iterator of int32 arrays `[batch_size / process_count, length]`, under
            SeqIO's feature names: an encoder-decoder's, or a language model's where rows are joined.

        Raises:
            InputError: the batch cannot be shared equally, or a number is out of range.
        """
        _share(batch_size, process_index, process_count)
        if start_step < 0:
            raise InputError(f"start_step is {start_step}; give 0 or more")
        batches = _Batches(self, batch_size, seed, process_index, process_count, task_ids)
        dataset = grain.MapDataset.source(batches).slice(slice(start_step, None))
        reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
        return iter(dataset.to_iter_dataset(reading))

    def _check_sizes(self) -> None:
        for shard in self.manifest.shards:
            path = self.folder / shard.name
            try:
                size = path.stat().st_size
            except OSError as error:
                raise self._damaged(shard, error.strerror or str(error)) from error
            if size != shard.size:
                raise self._damaged(shard, f"it has {size} bytes, the manifest says {shard.size}")
        if not len(self):
            raise InputError(f"{self.folder}: the packed dataset has no row")

    def _damaged(self, shard: PackedShard, what: str) -> InputError:
        return InputError(
            f"{self.folder / shard.name}: {what}; remove {self.folder} and run `instrux pack` again"
        )


@lru_cache(maxsize=16)
def _order_block(rows: int, seed: int, block: int) -> np.ndarray:
    """Gives a block of the endless order: each epoch a permutation of its own of all rows.

    A batch is a few dozen rows, for which calling numpy takes longer than the arithmetic.
    """
    drawn = np.arange(block * _ORDER_AT_ONCE, (block + 1) * _ORDER_AT_ONCE)
    epochs, places = np.divmod(drawn, rows)
    indices = np.empty_like(places)
    for epoch in np.unique(epochs):
        of_epoch = epochs == epoch
        indices[of_epoch] = permuted(places[of_epoch], rows, "epoch order", seed, int(epoch))
    return indices


@dataclass(frozen=True)
class _WholeFile:
    """What Grain needs to know of a file so as not to open it at start."""

    filename: str
    examples_in_shard: int
    skip: int = 0

    @property
    def take(self) -> int:
        return self.examples_in_shard


@dataclass(frozen=True)
class _Batches:
    """The batches of one process as a Grain source."""

    dataset: PackedDataset
    batch_size: int
    seed: int
    process_index: int
    process_count: int
    task_ids: bool

    def __len__(self) -> int:
        return _ENDLESS

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.dataset.batch(
            int(index),
            self.batch_size,
            self.seed,
            process_index=self.process_index,
            process_count=self.process_count,
            task_ids=self.task_ids,
        )


def _share(batch_size: int, process_index: int, process_count: int) -> range:
    """Gives the rows of each batch that belong to one process."""
    if batch_size < 1 or process_count < 1 or batch_size % process_count:
        raise InputError(
            f"batch_size is {batch_size} for {process_count} processes; give a positive multiple of {process_count}"
        )
    if not 0 <= process_index < process_count:
        raise InputError(f"process_index is {process_index} of {process_count} processes")
    size = batch_size // process_count
    return range(process_index * size, (process_index + 1) * size)
