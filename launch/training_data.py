"""Where a run's rows come from: a packed set on disk, or a SeqIO mixture read as it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from instrux.data.audit_settings import AuditSettings
from instrux.data.decoder_rows import DecoderOnlySource
from instrux.data.packed import PackedDataset, PackSettings
from instrux.data.prompt_rows import PromptedSource
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.models.adapters import prompt_ids
from instrux.models.decoder_only import DecoderConfig
from instrux.models.families import ModelConfig
from instrux.training.loop_settings import BatchSource, EvalSet


class TrainingData(NamedTuple):
    """Rows to train on and what they need of a model.

    Attributes:
        source: the batches.
        vocabulary: the vocabulary of their tokens.
        vocab_size: token ids are below it.
        inputs_length: encoder positions of a row.
        targets_length: decoder positions of a row.
        inputs_eos: whether inputs end with the end-of-sequence id.
        tasks: names of its tasks in the order of their numbers, empty where batches tell none.
        joined: whether its rows are those of a decoder-only model already.
    """

    source: BatchSource
    vocabulary: VocabularySpec
    vocab_size: int
    inputs_length: int
    targets_length: int
    inputs_eos: bool
    tasks: tuple[str, ...] = ()
    joined: bool = False


def rows_of_tokens(
    *,
    tokens: int,
    task_feature_lengths: Mapping[str, int],
    counted: Sequence[str] = ("inputs",),
) -> int:
    """Gives the rows of a batch that is said in tokens, padding included.

    Args:
        tokens: of a batch.
        task_feature_lengths: positions of a row, by feature.
        counted: the features whose positions count.

    Raises:
        InputError: not one row fits, or a feature has no length.
    """
    if absent := [name for name in counted if name not in task_feature_lengths]:
        raise InputError(
            f"rows_of_tokens: no length of {absent[0]!r}; there are {', '.join(task_feature_lengths)}."
        )
    row = sum(task_feature_lengths[name] for name in counted)
    if tokens < row:
        raise InputError(
            f"a batch of {tokens:,} tokens holds no row of {row:,}; give more tokens, or shorter rows."
        )
    return tokens // row


def pack_settings(
    *,
    mixture: str,
    task_feature_lengths: Mapping[str, int],
    vocabulary: str | VocabularySpec,
    num_examples: int,
    split: str = "train",
    seed: int = 0,
    num_shards: int | None = None,
    inputs_eos: bool = False,
    leave_out: Sequence[str] = (),
    leave_out_missing: bool = False,
    leave_out_emptied: bool = False,
    exclude: Sequence[str] = (),
    one_example_a_row: bool = False,
    joined: bool = False,
) -> PackSettings:
    """`PackSettings` from T5X's names, for gin: lengths as one dictionary, vocabulary as text."""
    _check_lengths(mixture, task_feature_lengths)
    if isinstance(vocabulary, str):
        vocabulary = VocabularySpec.parse(vocabulary)
    return PackSettings(
        mixture=mixture,
        split=split,
        inputs_length=task_feature_lengths["inputs"],
        targets_length=task_feature_lengths["targets"],
        vocabulary=vocabulary,
        num_examples=num_examples,
        seed=seed,
        num_shards=num_shards,
        inputs_eos=inputs_eos,
        leave_out=tuple(leave_out),
        leave_out_missing=leave_out_missing,
        leave_out_emptied=leave_out_emptied,
        exclude=tuple(exclude),
        one_example_a_row=one_example_a_row,
        joined=joined,
    )


def audit_settings(
    *,
    mixture: str,
    task_feature_lengths: Mapping[str, int],
    vocabulary: str | VocabularySpec,
    **options: Any,
) -> AuditSettings:
    """`AuditSettings` from T5X's names, for gin, as `pack_settings` gives those of a pack."""
    _check_lengths(mixture, task_feature_lengths)
    if isinstance(vocabulary, str):
        vocabulary = VocabularySpec.parse(vocabulary)
    return AuditSettings(
        mixture=mixture,
        inputs_length=task_feature_lengths["inputs"],
        targets_length=task_feature_lengths["targets"],
        vocabulary=vocabulary,
        **options,
    )


def packed(settings: PackSettings, data_dir: str) -> TrainingData:
    """The packed set that these settings name; imports no TensorFlow.

    Raises:
        InputError: it is absent, incomplete or damaged.
    """
    dataset = PackedDataset(settings.folder(data_dir))
    return TrainingData(
        source=dataset,
        vocabulary=settings.vocabulary,
        vocab_size=dataset.manifest.vocab_size,
        inputs_length=settings.inputs_length,
        targets_length=settings.targets_length,
        inputs_eos=settings.inputs_eos,
        tasks=tuple(task.name for task in dataset.manifest.tasks),
        joined=settings.joined,
    )


def eval_sets(
    settings: PackSettings | Sequence[PackSettings] | None,
    data_dir: str,
    model: ModelConfig,
    *,
    whole_in_batches_of: int | None = None,
) -> list[EvalSet]:
    """The packed sets whose loss is measured during training.

    A task of two sets is named with the split of each.

    Args:
        settings: of one set, of several, or None.
        data_dir: the folder that holds `packed/`.
        model: what reads them.
        whole_in_batches_of: rows of a batch where each row of a set is to be measured once; None
            for as many batches as the loop asks for.

    Raises:
        InputError: one is absent, incomplete or damaged.
    """
    if settings is None:
        return []
    several = [settings] if isinstance(settings, PackSettings) else list(settings)
    found = [(packed(one, data_dir), None) for one in several]
    if whole_in_batches_of is not None:
        found = [once(data, whole_in_batches_of) for data, _ in found]
    sets = [for_model(data, model) for data, _ in found]
    names = [name for data in sets for name in data.tasks]
    return [
        EvalSet(
            source=data.source,
            tasks=tuple(
                f"{name} ({one.split})" if names.count(name) > 1 else name for name in data.tasks
            ),
            batches=count,
        )
        for one, data, (_, count) in zip(several, sets, found, strict=True)
    ]


def once(data: TrainingData, batch_size: int) -> tuple[TrainingData, int]:
    """The same packed rows, each of them once, and the number of batches that takes.

    The last batch is filled up with empty rows, which weigh nothing in a loss.
    """
    rows = len(data.source)  # pyright: ignore[reportArgumentType]
    return data._replace(source=_RowsOnce(data.source, rows)), -(-rows // batch_size)


@dataclass(frozen=True)
class _RowsOnce:
    """A source whose rows behind the first `rows` are empty."""

    source: BatchSource
    rows: int

    def batches(
        self,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        process_index: int = 0,
        process_count: int = 1,
        **more: Any,
    ) -> Iterator[dict[str, np.ndarray]]:
        share = batch_size // process_count
        place = (batch_size, seed, start_step, process_index, process_count)
        found = self.source.batches(*place, **more)
        for step, batch in enumerate(found, start=start_step):
            first = step * batch_size + process_index * share
            held = max(0, min(share, self.rows - first))
            yield {
                name: np.concatenate([array[:held], np.zeros_like(array[held:])])
                for name, array in batch.items()
            }


def for_model(data: TrainingData, model: ModelConfig) -> TrainingData:
    """The same data as rows of the model's kind.

    Every example's inputs stand behind the soft prompt, where the model has one; and inputs and
    targets are joined to one sequence for a decoder-only model.

    Raises:
        InputError: the model has too few positions, or none of its kind can read the rows.
    """
    if data.joined and (model.prompt_length or not isinstance(model, DecoderConfig)):
        what = "a soft prompt" if model.prompt_length else "an encoder"
        raise InputError(
            f"train: the set was packed joined, as one sequence a row, which has no place for {what};"
            " pack without joined."
        )
    if model.prompt_length:
        ids = tuple(prompt_ids(model))
        data = data._replace(source=PromptedSource(data.source, ids, model.prompt_examples))
    if not isinstance(model, DecoderConfig):
        return data
    longest = model.prompt_length + data.inputs_length + data.targets_length
    model.check_length(longest, "inputs and targets")
    if data.joined:
        return data
    return data._replace(source=DecoderOnlySource(data.source))


def online(
    mixture: str,
    *,
    data_dir: str,
    split: str,
    task_feature_lengths: Mapping[str, int] | None,
    pack_online: bool,
    use_cached: bool,
    module_imports: Sequence[str],
) -> TrainingData:
    """A registered mixture or task, tokenised and packed by SeqIO as it is read.

    Raises:
        InputError: there is no such mixture, no lengths were given, or its vocabulary is none that
            a run can record.
    """
    lengths = {} if task_feature_lengths is None else dict(task_feature_lengths)
    _check_lengths(mixture, lengths)
    from launch import declarations

    declarations.load(module_imports)
    import seqio

    from instrux.data import registration
    from instrux.data.online import SeqioSource

    if use_cached:
        seqio.add_global_cache_dirs([str(Path(data_dir) / "cache")])
    mixture = registration.find_name(mixture)
    features = seqio.get_mixture_or_task(mixture).output_features
    vocabulary = _spec(mixture, features)
    return TrainingData(
        source=SeqioSource(mixture, split, lengths, pack=pack_online, use_cached=use_cached),
        vocabulary=vocabulary,
        vocab_size=vocabulary.load().vocab_size,
        inputs_length=lengths["inputs"],
        targets_length=lengths["targets"],
        inputs_eos=features["inputs"].add_eos,
    )


def _check_lengths(mixture: str, lengths: Mapping[str, int]) -> None:
    if set(lengths) != {"inputs", "targets"}:
        raise InputError(
            f"{mixture}: task_feature_lengths is {dict(lengths)}; give tokens a row as"
            ' {"inputs": 512, "targets": 128}.'
        )


def _spec(mixture: str, features: Mapping[str, Any]) -> VocabularySpec:
    import seqio

    if set(features) < {"inputs", "targets"}:
        raise InputError(f"{mixture}: has features {sorted(features)}; give it inputs and targets.")
    vocabulary = features["targets"].vocabulary
    if vocabulary != features["inputs"].vocabulary:
        raise InputError(
            f"{mixture}: inputs and targets have different vocabularies; give them one."
        )
    if isinstance(vocabulary, seqio.SentencePieceVocabulary):
        path = vocabulary.sentencepiece_model_file
        return VocabularySpec("sentencepiece", path, vocabulary.extra_ids)
    if isinstance(vocabulary, seqio.ByteVocabulary):
        return VocabularySpec("bytes", None, vocabulary.extra_ids)
    raise InputError(
        f"{mixture}: its vocabulary is a {type(vocabulary).__name__}; training takes SeqIO's"
        " SentencePieceVocabulary or ByteVocabulary."
    )
