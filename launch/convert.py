"""The stage `convert`: a checkpoint of one kind to another kind, a tensor at a time."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.interop.huggingface import write_folder
from instrux.interop.parameters import (
    FLOAT_DTYPES,
    WRITTEN_DTYPES,
    OnPiece,
    Parameter,
    Weights,
    count_tensors,
    nest,
    parameters,
    read_checked,
)
from instrux.interop.t5x import SCANNED, UNSCANNED, write_checkpoint
from instrux.models.families import ModelConfig
from instrux.models.t5 import T5Config
from instrux.progress import progress
from instrux.training.run_folder import RunDescription
from instrux.training.streamed_params import StreamedLeaf, write_params
from launch import convert_lineage
from launch.foreign import (
    FORMATS,
    HUGGING_FACE,
    OURS,
    PEFT,
    T5X,
    RunWeights,
    between_ids,
    check_vocabulary,
    open_weights,
    row_lengths,
    tokenizer_of,
    vocabulary_of,
)
from launch.model_card import card_of
from launch.whole_folder import appearing_whole

CARD = "README.md"
_FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class ConvertResult:
    """What was made.

    Attributes:
        out: the folder.
        config: the model.
        step: updates that the model was trained for, as far as known.
        tensors: tensors that were written, every layer's counted.
    """

    out: Path
    config: ModelConfig
    step: int
    tensors: int


@dataclass(frozen=True, kw_only=True)
class ConvertSettings:
    """How to write.

    Attributes:
        dtype: of the weights that are written, for `hf` and `t5x`; a run of ours has float32.
        scanned: for `t5x`, whether layers are stacked, as its `scalable_t5` has them.
        inputs_length: for `instrux`, encoder positions that `model.json` names; None for 1,024, or
            what learned positions allow.
        targets_length: for `instrux`, decoder positions that `model.json` names; None for 256, or
            what learned positions allow.
    """

    dtype: str = "float32"
    scanned: bool = False
    inputs_length: int | None = None
    targets_length: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in WRITTEN_DTYPES:
            raise InputError(
                f"convert: dtype {self.dtype!r}; choose from {', '.join(WRITTEN_DTYPES)}."
            )
        for name in ("inputs_length", "targets_length"):
            length = getattr(self, name)
            if length is not None and length < 1:
                raise InputError(f"convert: {name} is {length}; give 1 or more.")


def convert(
    source: tuple[str, str],
    target: tuple[str, str],
    *,
    vocabulary: VocabularySpec | str | None = None,
    model: T5Config | None = None,
    step: int | None = None,
    settings: ConvertSettings | None = None,
) -> ConvertResult:
    """Converts a checkpoint; the output appears whole or not at all.

    Optimiser states are not converted.

    Args:
        source: kind (`t5x`, `hf`, `instrux`) and path of what to read.
        target: kind and path of what to write; the path must not exist.
        vocabulary: the tokens' vocabulary, where the source has none with it, or in its place.
        model: sizes of a T5X model; told by the shapes of its arrays where None.
        step: which of several checkpoints; the newest where None.
        settings: how to write; None for float32, not scanned.

    Raises:
        InputError: the source cannot be read, the target exists or cannot be written, or
            something is missing that the target needs.
    """
    settings = ConvertSettings() if settings is None else settings
    if PEFT in (source[0], target[0]):
        raise InputError("convert: adapters alone are converted by `convert_adapters`.")
    (source_kind, source_path), (target_kind, out) = _known(source), _known(target)
    if model is not None and source_kind != T5X:
        raise InputError(
            f"convert: a model is given, but {source_path} tells its own sizes; leave it out."
        )
    weights = opened = open_weights(source_path, kind=source_kind, step=step, model=model)
    spec = VocabularySpec.parse(vocabulary) if isinstance(vocabulary, str) else vocabulary
    spec = vocabulary_of(weights) if spec is None else spec
    if spec is not None:
        check_vocabulary(weights, spec)
    elif target_kind == OURS:
        raise InputError(
            f"{source_path}: no vocabulary lies there, and a run needs one; give --vocabulary (a"
            " SentencePiece model, or `bytes`)."
        )
    if (source_kind == OURS) != (target_kind == OURS):
        weights = between_ids(weights, spec)
    total = count_tensors(weights.config)
    run = opened if isinstance(opened, RunWeights) else None
    with appearing_whole(Path(out), _bytes(weights, target_kind, settings)) as partial:
        with progress("convert", total=total, unit="tensors") as shown:
            _write(target_kind, partial, weights, spec, settings, shown.update)
            shown.done = total
        if run is not None and target_kind == HUGGING_FACE:
            _write_card(partial, run, settings.dtype)
        convert_lineage.write(
            partial,
            source,
            target,
            settings,
            sources=convert_lineage.sources_of(source_kind, source_path, step),
            counts={"steps": weights.step, "tensors": total},
            vocabulary=None if vocabulary is None else spec,
            step=step,
            model=None if model is None else asdict(model),
        )
    return ConvertResult(Path(out), weights.config, weights.step, total)


def _known(named: tuple[str, str]) -> tuple[str, str]:
    kind, path = named
    if kind not in FORMATS:
        raise InputError(f"convert: no format {kind!r}; choose from {', '.join(FORMATS)}.")
    return kind, path


def _write(
    kind: str,
    folder: Path,
    weights: Weights,
    vocabulary: VocabularySpec | None,
    settings: ConvertSettings,
    on_piece: OnPiece,
) -> None:
    if kind == HUGGING_FACE:
        tokenizer = None if vocabulary is None else tokenizer_of(vocabulary)
        write_folder(folder, weights, tokenizer=tokenizer, dtype=settings.dtype, on_piece=on_piece)
    elif kind == T5X:
        layout = SCANNED if settings.scanned else UNSCANNED
        write_checkpoint(folder, weights, layout=layout, dtype=settings.dtype, on_piece=on_piece)
    else:
        assert vocabulary is not None
        inputs, targets = row_lengths(
            weights.config, settings.inputs_length, settings.targets_length
        )
        description = RunDescription.of(
            weights.config, vocabulary, inputs_length=inputs, targets_length=targets
        )
        description.write(folder)
        write_params(folder, _leaves(weights, on_piece), step=weights.step)


def _write_card(folder: Path, run: RunWeights, dtype: str) -> None:
    card = card_of(run.path.parent.parent, step=run.step, config=run.config, dtype=dtype)
    (folder / CARD).write_text(card, encoding="utf-8")


def _leaves(weights: Weights, on_piece: OnPiece) -> dict[str, Any]:
    """The tree of a run's parameters, each made layer by layer while Orbax writes it."""
    done = 0

    def blocks_of(parameter: Parameter) -> Callable[[], Iterator[tuple[int | None, np.ndarray]]]:
        def blocks() -> Iterator[tuple[int | None, np.ndarray]]:
            nonlocal done
            for layer in parameter.layers:
                yield layer, read_checked(weights, parameter, layer).astype(_FLOAT32, copy=False)
                done += 1
                on_piece(done)

        return blocks

    return nest(
        {p.name: StreamedLeaf(p.stacked_shape, blocks_of(p)) for p in parameters(weights.config)}
    )


def _bytes(weights: Weights, kind: str, settings: ConvertSettings) -> int:
    elements = sum(int(np.prod(p.stacked_shape)) for p in parameters(weights.config))
    return elements * FLOAT_DTYPES["float32" if kind == OURS else settings.dtype].itemsize


def gin_model(file: str) -> T5Config:
    """The model that a gin file names, such as one of `gin/models/`.

    Raises:
        InputError: the file cannot be read, or has no MODEL.
    """
    from launch import gin_config

    gin_config.parse([file])
    found = gin_config.macro("MODEL")
    if not isinstance(found, T5Config):
        raise InputError(f"{file}: MODEL is {found!r} and no T5Config.")
    return found
