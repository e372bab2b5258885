"""Checkpoints of all three kinds by their paths: ours, T5X's and Hugging Face's, told apart by content."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from instrux.data.byte_pair_vocabulary import BytePairVocabulary
from instrux.data.byte_pairs import is_tokenizer_json
from instrux.data.tokenizer_json import TokenizerContent
from instrux.data.tokenizer_json_vocabulary import TOKENIZER_CONFIG, config_with_ends
from instrux.data.vocabularies import PAD_ID, Vocabulary, VocabularySpec
from instrux.errors import InputError
from instrux.interop import huggingface, peft_folder, t5x
from instrux.interop.huggingface import HuggingFaceFolder, Tokenizer
from instrux.interop.huggingface_tokenizer import TOKENIZER_JSON
from instrux.interop.parameters import CheckpointFormatError, Weights, parameters
from instrux.interop.t5x import T5XCheckpoint
from instrux.models import adapters
from instrux.models.decoder_config import DecoderConfig
from instrux.models.families import ModelConfig, family_of
from instrux.models.t5 import T5Config
from instrux.training.checkpoints import CHECKPOINTS, all_steps
from instrux.training.run_folder import RunDescription
from instrux.training.streamed_params import StreamedParams

OURS, T5X, HUGGING_FACE = "instrux", "t5x", "hf"
FORMATS = (T5X, HUGGING_FACE, OURS)
PEFT = "peft"
"""Adapters alone; see `convert_adapters`."""

# What a checkpoint's config.json says and the shapes of its tensors do not, by family.
_UNSHAPED = {
    "t5": ("mlp_activations", "relpos_max_distance", "relpos_per_layer", "layer_norm_epsilon"),
    "decoder_only": (
        "num_heads",
        "kv_heads",
        "positions",
        "rotary_base",
        "rotary_scaling",
        "mlp_activations",
        "layer_norm_epsilon",
        "prefix_lm",
        "bos_id",
    ),
}
_VOCAB, _MERGES = "vocab.json", "merges.txt"
_IDS = (_VOCAB, TOKENIZER_JSON)


class RunWeights(Weights):
    """The parameters of a run of ours; low-rank factors are added to the kernels they stand beside.

    Attributes:
        description: the run's model and vocabulary.
    """

    def __init__(self, path: str | Path, step: int | None = None) -> None:
        """Reads names and shapes.

        Args:
            path: a run's folder, or one of its step folders.
            step: which checkpoint of a run's folder; the newest where None.

        Raises:
            InputError: there is no such checkpoint, it is damaged, or it holds a soft prompt.
        """
        run, step = run_and_step(Path(path), step)
        self.path = run / CHECKPOINTS / str(step)
        self.step = step
        self.description = RunDescription.read(run)
        model = self.description.model
        if model.prompt_length:
            raise InputError(
                f"{run}: holds a soft prompt, which no kernel can take up; `--to peft` writes it alone, or"
                " evaluate the run."
            )
        self.config = adapters.without_adapters(model)
        self._params = StreamedParams(run, step)
        self._base: Weights | None = None
        if self.description.base is None:
            self._check()
            return
        base = open_weights(self.description.base)
        if not isinstance(base, RunWeights):
            base = between_ids(base, self.description.vocabulary)
        self._base, self._scale = base, model.lora_alpha / model.lora_rank

    def read(self, name: str, layer: int | None) -> np.ndarray:
        """Reads one tensor; see `StreamedParams.read`."""
        if self._base is None:
            return self._params.read(name, layer)
        tensor = self._base.read(name, layer)
        first = name.removesuffix(".kernel") + ".lora_a"
        if first not in self._params.shapes:
            return tensor
        inward, outward = (
            self._params.read(f"{first[:-1]}{letter}", layer) for letter in ("a", "b")
        )
        return tensor.astype(np.float32) + self._scale * (inward @ outward)

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


def run_and_step(path: Path, step: int | None) -> tuple[Path, int]:
    """The folder of a run and the step of one of its checkpoints.

    Args:
        path: a run's folder, or one of its step folders.
        step: which checkpoint of a run's folder; the newest where None.

    Raises:
        InputError: there is no such checkpoint.
    """
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
    if peft_folder.is_folder(path):
        raise InputError(
            f"{path}: adapters in PEFT's layout, without their base; `instrux convert --from peft {path}"
            " --to instrux RUN` makes a run of them."
        )
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


def checkpoint_model(*, path: str, **changes: Any) -> ModelConfig:
    """The model of a checkpoint, for gin: `MODEL = @foreign.checkpoint_model()`.

    Args:
        path: a run of ours, a T5X checkpoint or a Hugging Face folder.
        changes: settings that are to differ, such as `dropout_rate` or `remat`.

    Raises:
        InputError: it cannot be read, or has no such setting.
    """
    weights = open_weights(path)
    config = weights.config
    if isinstance(config, DecoderConfig) and config.bos_id == PAD_ID:
        config = between_ids(weights, vocabulary_of(weights)).config
    try:
        return dataclasses.replace(config, **changes)
    except TypeError as error:
        raise InputError(
            f"checkpoint_model: {type(config).__name__} has no such setting: {error}"
        ) from error


def row_lengths(
    config: ModelConfig, inputs_length: int | None, targets_length: int | None
) -> tuple[int, int]:
    """Lengths of inputs and targets that a checkpoint's model is read with.

    Where they are not given: T0's 1,024 and 256, but inputs no longer than learned positions leave
    room for, and targets no more than a quarter of these.
    """
    room = 1024 + 256
    if isinstance(config, DecoderConfig) and config.positions == "learned":
        room = config.max_positions
    targets = min(256, max(1, room // 4)) if targets_length is None else targets_length
    inputs = min(1024, max(1, room - targets)) if inputs_length is None else inputs_length
    return inputs, targets


class _PaddingRowExchanged(Weights):
    """A decoder's weights with two rows of its embeddings in each other's place.

    See `Vocabulary.exchanged_id`: our id 0 pads, and theirs is a token.
    """

    def __init__(self, weights: Weights, vocabulary: Vocabulary) -> None:
        self.path, self.step = weights.path, weights.step
        self.weights, self._row = weights, vocabulary.exchanged(PAD_ID)
        config = weights.config
        assert isinstance(config, DecoderConfig)
        self.config = dataclasses.replace(config, bos_id=vocabulary.exchanged(config.bos_id))

    def read(self, name: str, layer: int | None) -> np.ndarray:
        tensor = self.weights.read(name, layer)
        if name == "token_embedder.embedding":
            return _exchanged(tensor, self._row)
        return (
            _exchanged(tensor.T, self._row).T if name == "decoder.logits_dense.kernel" else tensor
        )


def _exchanged(rows: np.ndarray, row: int) -> np.ndarray:
    rows = rows.copy()
    rows[[PAD_ID, row]] = rows[[row, PAD_ID]]
    return rows


def between_ids(weights: Weights, vocabulary: VocabularySpec | None) -> Weights:
    """Weights for our ids of those for a Hugging Face folder's, or the other way.

    Raises:
        InputError: ids of an encoder-decoder would change places, which begins with the one that pads.
    """
    if vocabulary is None or vocabulary.kind not in ("byte_pairs", "tokenizer_json"):
        return weights
    is_decoder = isinstance(weights.config, DecoderConfig)
    if vocabulary.kind == "byte_pairs" and not is_decoder:
        return weights
    loaded = vocabulary.load()
    if loaded.exchanged_id is None:
        return weights
    if not is_decoder:
        raise InputError(
            f"vocabulary {vocabulary}: its id 0 is a token of text, and a T5 begins and pads with 0; give"
            " --vocabulary."
        )
    return _PaddingRowExchanged(weights, loaded)


def vocabulary_of(weights: Weights) -> VocabularySpec | None:
    """The vocabulary that lies with a checkpoint; T5X's has none.

    Raises:
        InputError: a folder's byte pairs are not in GPT-2's order.
    """
    if isinstance(weights, RunWeights):
        return weights.description.vocabulary
    if isinstance(weights, HuggingFaceFolder) and weights.tokenizer is not None:
        tokenizer = weights.tokenizer
        path = None if tokenizer.path is None else str(tokenizer.path)
        if tokenizer.kind == "tokenizer_json":
            return VocabularySpec.parse(f"{path}:0")
        spec = VocabularySpec(tokenizer.kind, path, tokenizer.extra_ids)
        if tokenizer.kind == "byte_pairs":
            _check_order(weights.path, spec)
        return spec
    return None


def _check_order(folder: Path, spec: VocabularySpec) -> None:
    """Holds the ids that a folder gives to its pieces against those that follow from the merges."""
    loaded = spec.load()
    assert isinstance(loaded, BytePairVocabulary)
    file = next((folder / name for name in _IDS if (folder / name).is_file()), None)
    if file is None:
        return
    try:
        if file.name == TOKENIZER_JSON:
            ids = TokenizerContent.of(file.read_bytes()).pieces
        else:
            ids = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointFormatError(f"{file}: its JSON is malformed.") from error
    if ids != loaded.released_ids():
        raise CheckpointFormatError(
            f"{file}: its ids are not those that GPT-2 gives to the pieces of merges.txt; give"
            " --vocabulary."
        )


def tokenizer_of(vocabulary: VocabularySpec) -> Tokenizer:
    """The vocabulary as a Hugging Face folder keeps it."""
    path = None if vocabulary.path is None else Path(vocabulary.path).expanduser()
    loaded = vocabulary.load()
    files = {}
    if isinstance(loaded, BytePairVocabulary):
        files = {_VOCAB: json.dumps(loaded.released_ids(), ensure_ascii=False)}
        if path is not None and is_tokenizer_json(path):
            lines = ("#version: 0.2", *map(" ".join, loaded.merges()))
            path, files[_MERGES] = None, "".join(f"{line}\n" for line in lines)
    if vocabulary.kind == "tokenizer_json" and path is not None:
        files = {TOKENIZER_CONFIG: config_with_ends(path)}
    eos_id = loaded.exchanged(loaded.eos_id)
    return Tokenizer(vocabulary.kind, path, vocabulary.extra_ids, eos_id=eos_id, files=files)


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

    Args:
        weights: a checkpoint, for our ids; see `between_ids`.
        model: the run's.

    Raises:
        InputError: a setting differs.
    """
    families = family_of(weights.config), family_of(model)
    if families[0] != families[1]:
        raise InputError(
            f"{weights.path}: holds a {families[0]} model, and this run's is {families[1]}; choose a"
            " model file of its family."
        )
    read = weights.weights if isinstance(weights, _PaddingRowExchanged) else weights
    if not isinstance(read, HuggingFaceFolder):
        return
    for name in _UNSHAPED[families[0]]:
        there, here = getattr(weights.config, name), getattr(model, name)
        if there != here:
            raise InputError(
                f"{weights.path / huggingface.CONFIG}: the model has {name} = {there}, this run's has"
                f" {here}; set {type(model).__name__}.{name}."
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
