"""Adapters of a run to a folder of Hugging Face's PEFT, and back: what `convert` does with `peft`."""

from pathlib import Path
from typing import Any

import numpy as np

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.interop import peft_folder
from instrux.interop.parameters import FLOAT_DTYPES, Weights, nest
from instrux.interop.peft_folder import Adapters
from instrux.models import adapters as models
from instrux.training.run_folder import RunDescription
from instrux.training.streamed_params import StreamedLeaf, StreamedParams, write_params
from launch import convert_lineage, foreign
from launch.convert import ConvertResult, ConvertSettings
from launch.whole_folder import appearing_whole


def convert_adapters(
    source: tuple[str, str],
    target: tuple[str, str],
    *,
    base: str | None = None,
    vocabulary: VocabularySpec | str | None = None,
    step: int | None = None,
    settings: ConvertSettings | None = None,
) -> ConvertResult:
    """Writes a run's adapters as PEFT has them, or makes a run of what PEFT saved.

    Args:
        source: kind (`peft` or `instrux`) and path of what to read.
        target: kind and path of what to write; the path must not exist.
        base: from `peft`, the checkpoint that they stand beside, where the folder names none that
            lies here; to `peft`, what the folder is to call it, such as a name on the hub.
        vocabulary: from `peft`, the base's, where none lies with it.
        step: which checkpoint of a run; the newest where None.
        settings: how to write; None for float32.

    Raises:
        InputError: one of the two is no such folder, or they do not fit the base.
    """
    settings = ConvertSettings() if settings is None else settings
    kinds = (source[0], target[0])
    if kinds == (foreign.OURS, foreign.PEFT):
        return _to_peft(source, target, base, step, settings)
    if kinds == (foreign.PEFT, foreign.OURS):
        return _from_peft(source, target, base, vocabulary, settings)
    raise InputError(
        f"convert: from {kinds[0]} to {kinds[1]}; PEFT's adapters are written from a run of adapters, and"
        " read to one (instrux), which converts on with its base."
    )


def _to_peft(
    source: tuple[str, str],
    target: tuple[str, str],
    base_name: str | None,
    step: int | None,
    settings: ConvertSettings,
) -> ConvertResult:
    out = Path(target[1])
    run, step = foreign.run_and_step(Path(source[1]), step)
    description = RunDescription.read(run)
    if description.base is None:
        raise InputError(f"{run}: holds no adapters; `--to hf` writes a whole model.")
    stored = StreamedParams(run, step)
    arrays = {name: np.asarray(stored.read(name), np.float32) for name in stored.shapes}
    if base_name is None and foreign.kind_of(description.base) == foreign.HUGGING_FACE:
        base_name = description.base
    base = _opened(description.base, description.vocabulary)
    size = sum(array.size for array in arrays.values()) * FLOAT_DTYPES[settings.dtype].itemsize
    adapters = Adapters(description.model, arrays, base_name)
    with appearing_whole(out, size) as partial:
        count = peft_folder.write_adapters(partial, adapters, base, dtype=settings.dtype)
        convert_lineage.write(
            partial,
            source,
            target,
            settings,
            sources=convert_lineage.sources_of(foreign.OURS, run, step),
            counts={"steps": step, "tensors": count},
            step=step,
            base=base_name,
        )
    return ConvertResult(out, description.model, step, count)


def _from_peft(
    source: tuple[str, str],
    target: tuple[str, str],
    base_path: str | None,
    vocabulary: VocabularySpec | str | None,
    settings: ConvertSettings,
) -> ConvertResult:
    path, out = Path(source[1]), Path(target[1])
    named = peft_folder.named_base(path)
    if base_path is None and named is not None and Path(named).exists():
        base_path = named
    if base_path is None:
        raise InputError(
            f"{path}: beside {named or 'a base without a name'}, which does not lie here; give its"
            " checkpoint as --base."
        )
    opened = foreign.open_weights(base_path)
    spec = VocabularySpec.parse(vocabulary) if isinstance(vocabulary, str) else vocabulary
    spec = foreign.vocabulary_of(opened) if spec is None else spec
    if spec is None:
        raise InputError(
            f"{base_path}: no vocabulary lies there, and a run needs one; give --vocabulary."
        )
    foreign.check_vocabulary(opened, spec)
    adapters = peft_folder.read_adapters(path, _in_our_ids(opened, spec))
    inputs, targets = foreign.row_lengths(
        adapters.config, settings.inputs_length, settings.targets_length
    )
    description = RunDescription.of(
        adapters.config,
        spec,
        inputs_length=inputs,
        targets_length=targets,
        base=str(Path(base_path).absolute()),
    )
    size = sum(array.nbytes for array in adapters.arrays.values())
    with appearing_whole(out, size) as partial:
        description.write(partial)
        write_params(partial, _leaves(adapters), step=opened.step)
        convert_lineage.write(
            partial,
            source,
            target,
            settings,
            sources=[
                *convert_lineage.sources_of(foreign.PEFT, path),
                *convert_lineage.sources_of(foreign.kind_of(base_path), base_path),
            ],
            counts={"steps": opened.step, "tensors": len(adapters.arrays)},
            vocabulary=None if vocabulary is None else spec,
            base=base_path,
        )
    return ConvertResult(out, adapters.config, opened.step, len(adapters.arrays))


def _opened(path: str, vocabulary: VocabularySpec) -> Weights:
    return _in_our_ids(foreign.open_weights(path), vocabulary)


def _in_our_ids(weights: Weights, vocabulary: VocabularySpec) -> Weights:
    if isinstance(weights, foreign.RunWeights):
        return weights
    return foreign.between_ids(weights, vocabulary)


def _leaves(adapters: Adapters) -> Any:
    """The tree that a run of these adapters holds."""

    def leaf(array: np.ndarray) -> StreamedLeaf:
        return StreamedLeaf(array.shape, lambda: [(None, array)])

    assert models.has_adapters(adapters.config)
    return nest({name: leaf(array) for name, array in adapters.arrays.items()})
