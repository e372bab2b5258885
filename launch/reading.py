"""A trained run opened for reading: which checkpoint, its vocabulary, its parameters on devices."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from instrux.data.selected_step import SELECTED, read_selected, step_number
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.evaluation.reader import Reader, ReadingSettings
from instrux.interop.parameters import Weights, count_tensors, load
from instrux.models import adapters
from instrux.models.families import Model, model_of
from instrux.models.host_memory import keep_freed_memory
from instrux.models.several_processes import of_first, placed
from instrux.progress import progress
from instrux.training import compilation_cache
from instrux.training.checkpoints import CHECKPOINTS, all_steps, latest_step, load_params
from instrux.training.mesh import (
    BATCH_AXES,
    MeshShape,
    abstract_params,
    activate,
    make_mesh,
)
from instrux.training.run_folder import RunDescription
from launch import foreign


@dataclass(frozen=True)
class RunToRead:
    """One checkpoint of a run.

    Attributes:
        model_dir: the run's folder.
        step: the checkpoint's step.
        description: the run's model and vocabulary.
        fingerprint: digest of the checkpoint's files, names and sizes and Orbax's own record of
            when it wrote them; no array is read for it.
        weights: where the parameters lie if that is no run of ours; then `model_dir` is where
            results go.
    """

    model_dir: Path
    step: int
    description: RunDescription
    fingerprint: str
    weights: Weights | None = None


def find_run(
    model_dir: str, *, step: int | str | None, vocabulary: VocabularySpec | str | None
) -> RunToRead:
    """Finds a checkpoint and checks that the run's vocabulary is the one it was trained with.

    Args:
        model_dir: the run's folder.
        step: which checkpoint; the newest where None, that of `selected.json` where `selected`.
        vocabulary: the vocabulary to expect, for callers who want to be sure; or None.

    Raises:
        InputError: there is no run, no such checkpoint, the selected one was written anew, or the
            vocabulary is another.
    """
    description = RunDescription.read(model_dir)
    folder = Path(model_dir) / CHECKPOINTS
    newest = latest_step(model_dir)
    if newest is None:
        raise InputError(f"{model_dir}: no checkpoint yet; `instrux train` makes one.")
    # The newest may not be the same for all of several processes while training goes on.
    number = of_first(newest) if step is None else step_number(model_dir, step)
    if number is None or not (folder / str(number)).is_dir():
        steps = all_steps(model_dir)
        raise InputError(f"{folder}: no checkpoint of step {number}; there are {steps}.")
    _check_vocabulary(model_dir, description, vocabulary)
    fingerprint = _fingerprint(folder / str(number))
    if step == SELECTED and read_selected(model_dir).checkpoint != fingerprint:
        raise InputError(
            f"{folder / str(number)}: written anew since it was selected; run `instrux select` again."
        )
    return RunToRead(Path(model_dir), number, description, fingerprint)


def find_foreign(
    checkpoint: str,
    *,
    out: str,
    step: int | str | None,
    vocabulary: VocabularySpec | str | None,
    inputs_length: int | None,
    targets_length: int | None,
) -> RunToRead:
    """Finds a T5X or Hugging Face checkpoint, to be read as a run of ours would be.

    Args:
        checkpoint: its path.
        out: the folder that gets results.
        step: which of several T5X checkpoints in the folder; the newest where None.
        vocabulary: its vocabulary; that which lies with it where None.
        inputs_length: longest inputs; where None, 1,024 as T0 has them, or what positions allow.
        targets_length: longest targets; 256 where None, or what positions allow.

    Raises:
        InputError: it cannot be read, or there is no vocabulary or another model's.
    """
    if isinstance(step, str):
        raise InputError(f"{checkpoint}: step {step!r} is a run's; give a number or nothing.")
    weights = foreign.open_weights(checkpoint, step=step)
    spec = VocabularySpec.parse(vocabulary) if isinstance(vocabulary, str) else vocabulary
    spec = foreign.vocabulary_of(weights) if spec is None else spec
    if spec is None:
        raise InputError(
            f"{checkpoint}: no vocabulary lies there (spiece.model, tokenizer.json) that is known"
            " here; give `vocabulary`, a SentencePiece model, a tokenizer.json, `bytes` or `gpt2`."
        )
    foreign.check_vocabulary(weights, spec)
    weights = foreign.between_ids(weights, spec)
    inputs, targets = foreign.row_lengths(weights.config, inputs_length, targets_length)
    description = RunDescription.of(
        weights.config, spec, inputs_length=inputs, targets_length=targets
    )
    return RunToRead(Path(out), weights.step, description, foreign.fingerprint(weights), weights)


def _check_vocabulary(
    model_dir: str, description: RunDescription, expected: VocabularySpec | str | None
) -> None:
    if (digest := description.vocabulary.digest()) != description.vocabulary_digest:
        raise InputError(
            f"{model_dir}: {description.vocabulary} has the digest {digest[:12]}, but the run was trained"
            f" with {description.vocabulary_digest[:12]}; put that vocabulary's file back."
        )
    if expected is None:
        return
    spec = VocabularySpec.parse(expected) if isinstance(expected, str) else expected
    if spec.digest() != description.vocabulary_digest:
        raise InputError(
            f"{model_dir}: trained with the vocabulary {description.vocabulary}, not with {spec}; leave"
            " `vocabulary` out to use the run's own."
        )


def _fingerprint(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
    record = folder / "_CHECKPOINT_METADATA"  # holds the time of writing
    digest.update(record.read_bytes() if record.is_file() else b"")
    return f"blake2b:{digest.hexdigest()}"


@contextlib.contextmanager
def opened(
    run: RunToRead,
    settings: ReadingSettings,
    *,
    mesh: MeshShape | None = None,
    compile_cache: str | bool = True,
) -> Iterator[Reader]:
    """Loads the parameters onto all devices, split as in training, for the block's time.

    Args:
        run: the checkpoint.
        settings: how to read; the batch size divides by the mesh's devices that split batches.
        mesh: sizes of the mesh's axes; None for all devices on `data`.
        compile_cache: False for none, True for the cache folder, or a folder.

    Raises:
        InputError: the checkpoint is damaged, or mesh and model do not fit.
    """
    if compile_cache is not False:
        compilation_cache.enable(None if compile_cache is True else compile_cache)
    if jax.default_backend() == "cpu":
        keep_freed_memory()
    devices = make_mesh(MeshShape() if mesh is None else mesh)
    ways = int(np.prod([devices.shape[axis] for axis in BATCH_AXES]))
    if settings.batch_size % ways:
        raise InputError(
            f"batch_size is {settings.batch_size}; with {ways} devices on the mesh axes data x fsdp it"
            f" must be a multiple of {ways}."
        )
    model = model_of(run.description.model)
    params = _load(run, model, devices)
    with activate(devices):
        yield Reader(
            model,
            params,
            run.description.vocabulary.load(),
            settings,
            place=lambda array: _place(array, devices, ways),
        )


def _load(run: RunToRead, model: Model, devices: Mesh) -> Any:
    abstract = abstract_params(model, devices)
    if run.weights is not None:
        return _load_foreign(run.weights, abstract)
    base = run.description.base
    if base is None:
        return load_params(run.model_dir, abstract, step=run.step).params
    own = load_params(run.model_dir, adapters.adapter_params(abstract), step=run.step).params
    abstract = adapters.base_params(abstract)
    if foreign.kind_of(base) == foreign.OURS:
        return adapters.joined(load_params(base, abstract).params, own)
    weights = foreign.between_ids(foreign.open_weights(base), run.description.vocabulary)
    return adapters.joined(_load_foreign(weights, abstract), own)


def _load_foreign(weights: Weights, abstract: Any) -> Any:
    total = count_tensors(weights.config)
    with progress("reading", total=total, unit="tensors") as shown:
        return load(weights, abstract, shown.update)


def _place(array: np.ndarray, devices: Mesh, ways: int) -> jax.Array:
    """Splits rows over the devices where they divide, as choices' rows may not."""
    spec = PartitionSpec(BATCH_AXES) if array.shape[0] % ways == 0 else PartitionSpec()
    return placed(array, NamedSharding(devices, spec))
