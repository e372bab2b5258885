"""Checkpoints of all three kinds by their paths: ours, T5X's and Hugging Face's, told apart by content."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.interop import huggingface, t5x
from instrux.interop.huggingface import HuggingFaceFolder, Tokenizer
from instrux.interop.parameters import CheckpointFormatError, Weights, parameters
from instrux.interop.t5x import T5XCheckpoint
from instrux.models.families import ModelConfig
from instrux.models.t5 import T5Config
from instrux.training.checkpoints import CHECKPOINTS, all_steps
from instrux.training.run_folder import RunDescription
from instrux.training.streamed_params import StreamedParams

OURS, T5X, HUGGING_FACE = "instrux", "t5x", "hf"
FORMATS = (T5X, HUGGING_FACE, OURS)

# What a checkpoint's config.json says and the shapes of its tensors do not.
_UNSHAPED = ("mlp_activations", "relpos_max_distance", "layer_norm_epsilon")


class RunWeights(Weights):
    """The parameters of a run of ours.

    Attributes:
        description: the run's model and vocabulary.
    """

    def __init__(self, path: str | Path, step: int | None = None) -> None:
        """Reads names and shapes.

        Args:
            path: a run's folder, or one of its step folders.
            step: which checkpoint of a run's folder; the newest where None.

        Raises:
            InputError: there is no such checkpoint, or it is damaged.
        """
        run, step = _run_and_step(Path(path), step)
        self.path = run / CHECKPOINTS / str(step)
        self.step = step
        self.description = RunDescription.read(run)
        if not isinstance(self.description.model, T5Config):
            raise InputError(
                f"{run}: holds a decoder-only model, and only T5s are converted so far; give a T5's run."
            )
        self.config = self.description.model
        self._params = StreamedParams(run, step)
        self._check()

    def read(self, name: str, layer: int | None) -> np.ndarray:
        """Reads one tensor; see `StreamedParams.read`."""
        return self._params.read(name, layer)

    def _check(self) -> None:
        expected = {p.name: p.stacked_shape for p in parameters(self.config)}
        for name in sorted(expected.keys() | self._params.shapes.keys()):
            there, here = self._params.shapes.get(name), expected.get(name)
            if there != here:
                raise CheckpointFormatError(
                    f"{self.path}: {name} is {_worded(there)} in the checkpoint and {_worded(here)} in"
                    " the model of model.json; restore one of the two."
                )


def _worded(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"


def _run_and_step(path: Path, step: int | None) -> tuple[Path, int]:
    if path.parent.name == CHECKPOINTS and path.name.isdigit():
        return path.parent.parent, int(path.name)
    steps = all_steps(path)
    if not steps:
        raise InputError(f"{path}: no checkpoint of a run here; name a MODEL_DIR.")
    if step is not None and step not in steps:
        raise InputError(f"{path}: no checkpoint of step {step}; there are {steps}.")
    return path, max(steps) if step is None else step


def kind_of(path: str | Path) -> str:
    """Tells whose checkpoint lies at a path, by the files there.

    Raises:
        InputError: nothing lies there, or nobody's.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; name a checkpoint.")
    is_step = path.parent.name == CHECKPOINTS and path.name.isdigit()
    if is_step or (path / CHECKPOINTS).is_dir():
        return OURS
    if huggingface.is_folder(path):
        return HUGGING_FACE
    if t5x.is_checkpoint(path):
        return T5X
    raise InputError(
        f"{path}: no checkpoint that is known here: neither a run of ours (checkpoints/), nor T5X's"
        " (checkpoint_<step>/checkpoint), nor a Hugging Face folder (config.json with"
        " model.safetensors)."
    )


def open_weights(
    path: str | Path,
    *,
    kind: str | None = None,
    step: int | None = None,
    model: T5Config | None = None,
) -> Weights:
    """Opens a checkpoint for reading tensor by tensor.

    Args:
        path: the checkpoint.
        kind: one of `FORMATS`; told by content where None.
        step: which of several checkpoints in the folder; the newest where None.
        model: sizes of a T5X model; told by the shapes of its arrays where None.

    Raises:
        InputError: it cannot be read as what it should be.
    """
    kind = kind_of(path) if kind is None else kind
    if kind == OURS:
        return RunWeights(path, step)
    if kind == HUGGING_FACE:
        return HuggingFaceFolder(path)
    if step is not None and not Path(path).is_file():
        path = Path(path) / f"checkpoint_{step}"
    return T5XCheckpoint(path, model)


def vocabulary_of(weights: Weights) -> VocabularySpec | None:
    """The vocabulary that lies with a checkpoint; T5X's has none."""
    if isinstance(weights, RunWeights):
        return weights.description.vocabulary
    if isinstance(weights, HuggingFaceFolder) and weights.tokenizer is not None:
        tokenizer = weights.tokenizer
        path = None if tokenizer.path is None else str(tokenizer.path)
        return VocabularySpec(tokenizer.kind, path, tokenizer.extra_ids)
    return None


def tokenizer_of(vocabulary: VocabularySpec) -> Tokenizer:
    """The vocabulary as a Hugging Face folder keeps it."""
    path = None if vocabulary.path is None else Path(vocabulary.path).expanduser()
    return Tokenizer(vocabulary.kind, path, vocabulary.extra_ids)


def check_vocabulary(weights: Weights, vocabulary: VocabularySpec) -> None:
    """Checks that a model has a row of its embeddings for every id.

    Raises:
        InputError: it has not, or the vocabulary cannot be loaded.
    """
    size = vocabulary.load().vocab_size
    if size > weights.config.vocab_size:
        raise InputError(
            f"{weights.path}: has {weights.config.vocab_size} embeddings, and {vocabulary} has ids up"
            f" to {size - 1}; give the vocabulary it was trained with."
        )


def check_same_model(weights: Weights, model: ModelConfig) -> None:
    """Checks what names and shapes of parameters do not tell, against a run's model.

    Raises:
        InputError: a setting differs.
    """
    if not isinstance(model, T5Config):
        raise InputError(
            f"{weights.path}: holds a T5, and this run's model is a {type(model).__name__}; start it"
            " from a run of ours, or from nothing."
        )
    if not isinstance(weights, HuggingFaceFolder):
        return
    for name in _UNSHAPED:
        there, here = getattr(weights.config, name), getattr(model, name)
        if there != here:
            raise InputError(
                f"{weights.path / huggingface.CONFIG}: the model has {name} = {there}, this run's has"
                f" {here}; set T5Config.{name}."
            )


def fingerprint(weights: Weights) -> str:
    """Digest of a checkpoint's files: names, sizes and times of their last change."""
    digest = hashlib.blake2b(digest_size=16)
    for path in _files(weights.path):
        known = path.stat()
        digest.update(f"{path.name}\0{known.st_size}\0{known.st_mtime_ns}\0".encode())
    return f"blake2b:{digest.hexdigest()}"


def _files(path: Path) -> Iterator[Path]:
    if path.is_file() and path.name != t5x.INDEX:
        yield path
        return
    found = path.parent.rglob("*") if path.is_file() else path.iterdir()
    yield from sorted(file for file in found if file.is_file())
