"""Batches straight from a SeqIO mixture or task, tokenised (and packed) as they are read.

For work on a task before anything is packed: it starts slower the more tasks there are, and needs
TensorFlow, which is imported when the first batch is asked for. Batch `k` is a function of the
mixture, the settings and the seed: after a stop the stream is run again from its start and what
was seen is skipped, which costs reading, not training.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from instrux.data.packed_rows import positions_in_segments
from instrux.errors import InputError


@dataclass(frozen=True)
class SeqioSource:
    """A SeqIO mixture or task to train on, with the `batches` that a packed dataset has.

    Attributes:
        mixture: its registered name.
        split: the split to read.
        lengths: tokens a row: `{"inputs": ..., "targets": ...}`; longer examples are cut.
        pack: whether rows hold several examples, packed as SeqIO does.
        use_cached: whether SeqIO reads its cache.
    """

    mixture: str
    split: str
    lengths: Mapping[str, int]
    pack: bool = True
    use_cached: bool = False

    def batches(
        self,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> "SeqioBatches":
        """Gives batches for ever; see `SeqioBatches`."""
        return SeqioBatches(
            self.mixture,
            self.split,
            self.lengths,
            batch_size,
            seed,
            pack=self.pack,
            start_step=start_step,
            use_cached=self.use_cached,
            process_index=process_index,
            process_count=process_count,
        )


class SeqioBatches(Iterator[dict[str, np.ndarray]]):
    """An endless iterator over batches of a SeqIO mixture or task.

    Batches are dictionaries of int32 arrays, `[batch_size / process_count, length]`, under the
    names of `seqio.EncDecFeatureConverter(pack=True)`; rows that are not packed are one segment.
    """

    def __init__(
        self,
        mixture: str,
        split: str,
        lengths: Mapping[str, int],
        batch_size: int,
        seed: int,
        pack: bool = True,
        start_step: int = 0,
        *,
        use_cached: bool = False,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        """Builds the stream; nothing is read yet.

        Args:
            mixture: name of a registered mixture or task.
            split: the split to read.
            lengths: tokens a row, `{"inputs": ..., "targets": ...}`.
            batch_size: rows of a batch over all processes.
            seed: of shuffling and mixing.
            pack: whether rows hold several examples, packed as SeqIO does.
            start_step: the first batch to give.
            use_cached: whether SeqIO reads its cache.
            process_index: which process this is.
            process_count: how many processes share each batch, in equal consecutive parts. Each
                reads the whole stream, so that the batch does not depend on their number.

        Raises:
            InputError: no such mixture, split or length, or a batch that cannot be shared.
        """
        if batch_size < 1 or process_count < 1 or batch_size % process_count:
            raise InputError(
                f"batch_size is {batch_size} for {process_count} processes; give a positive "
                f"multiple of {process_count}"
            )
        if set(lengths) != {"inputs", "targets"}:
            raise InputError(f"lengths has {sorted(lengths)}; give 'inputs' and 'targets'")
        size = batch_size // process_count
        self._part = slice(process_index * size, (process_index + 1) * size)
        self._pack = pack
        self._mixture = mixture
        dataset = _dataset(mixture, split, lengths, seed, pack=pack, use_cached=use_cached)
        dataset = dataset.batch(batch_size, drop_remainder=True).skip(start_step)
        self._batches = dataset.prefetch(2).as_numpy_iterator()

    def __next__(self) -> dict[str, np.ndarray]:
        """Gives the next batch."""
        import tensorflow as tf

        errors = tf.errors
        try:
            batch = next(self._batches)
        except StopIteration:
            raise InputError("the mixture gives no example; is one of its tasks empty?") from None
        except (errors.DataLossError, errors.NotFoundError, errors.InvalidArgumentError) as error:
            raise InputError(
                f"{self._mixture}: its examples cannot be read ({str(error).splitlines()[0]}); "
                "`instrux verify` tells which file of a cache is damaged, `instrux cache` makes it again"
            ) from error
        batch = {name: np.asarray(value[self._part], np.int32) for name, value in batch.items()}
        return batch if self._pack else _as_one_segment(batch)


def _dataset(
    mixture: str,
    split: str,
    lengths: Mapping[str, int],
    seed: int,
    *,
    pack: bool,
    use_cached: bool,
) -> Any:
    import seqio
    import tensorflow as tf

    from instrux.data.lookup import find_name

    mixture = find_name(mixture)
    provider = seqio.get_mixture_or_task(mixture)
    if split not in provider.splits:
        raise InputError(
            f"{mixture} has no split {split!r}; it has {', '.join(sorted(provider.splits))}"
        )
    dataset = seqio.get_dataset(
        mixture,
        task_feature_lengths=dict(lengths),
        dataset_split=split,
        use_cached=use_cached,
        shuffle=True,
        num_epochs=None,
        seed=seed,
        feature_converter=seqio.EncDecFeatureConverter(pack=pack),
        verbose=False,
    )
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options)


def _as_one_segment(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Adds what packing would have added."""
    for side, tokens in (("encoder", "encoder_input_tokens"), ("decoder", "decoder_target_tokens")):
        segment_ids = (batch[tokens] != 0).astype(np.int32)
        batch[f"{side}_segment_ids"] = segment_ids
        batch[f"{side}_positions"] = positions_in_segments(segment_ids)
    return batch
