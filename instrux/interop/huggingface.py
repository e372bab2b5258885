"""Hugging Face's folders of T5, T5 1.1, mT5, ByT5, Flan-T5, T0: safetensors and `config.json`.

Tensors are stored for `x @ W.T`, so kernels are transposed. docs/checkpoints.md has the table of
names. Pickled weights (`pytorch_model.bin`) are refused: reading a pickle runs its code.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from instrux.errors import InputError
from instrux.interop.parameters import (
    FLOAT_DTYPES,
    CheckpointFormatError,
    OnPiece,
    Weights,
    parameters,
    pieces,
)
from instrux.interop.safetensors_files import (
    INDEX,
    SINGLE,
    SafetensorsWriter,
    stored_tensors,
)
from instrux.models.t5 import T5Config

CONFIG = "config.json"
SENTENCEPIECE = "spiece.model"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_STEP = "instrux_step"
_PICKLES = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
)
_SHARED, _HEAD = "shared.weight", "lm_head.weight"
_EMBEDDING, _LOGITS = "token_embedder.embedding", "decoder.logits_dense.kernel"
# Other names of the shared table, which some versions of transformers write beside it.
_SHARED_TOO = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# In the first T5 checkpoints, and never used.
_IGNORED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
_SUBLAYER = {
    "encoder": {"attention": 0, "mlp": 1},
    "decoder": {"self_attention": 0, "encoder_decoder_attention": 1, "mlp": 2},
}
_NORM = {"pre_cross_attention_layer_norm": "encoder_decoder_attention"}
_LETTERS = {"query": "q", "key": "k", "value": "v", "out": "o"}
# transformers' activation -> ours. Its `gelu` is the exact one, and T5's is the approximation.
_ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "relu": "relu", "silu": "silu"}
_PROJECTIONS = {
    ("gelu", "linear"): "gated-gelu",
    ("relu", "linear"): "gated-relu",
    ("silu", "linear"): "gated-silu",
    ("relu",): "relu",
    ("gelu",): "gelu_new",
}


@dataclass(frozen=True)
class Tokenizer:
    """The tokenizer of a folder.

    Attributes:
        kind: `sentencepiece` or `bytes`.
        path: the SentencePiece model; None for bytes.
        extra_ids: sentinels on top of the model's own ids.
    """

    kind: Literal["sentencepiece", "bytes"]
    path: Path | None
    extra_ids: int


def is_folder(path: Path) -> bool:
    """Whether a path looks like a Hugging Face folder: a `config.json` with weights beside it."""
    names = (SINGLE, INDEX, *_PICKLES)
    return (path / CONFIG).is_file() and any((path / name).exists() for name in names)


class HuggingFaceFolder(Weights):
    """A Hugging Face folder of the T5 family.

    Attributes:
        tokenizer: what its tokens are, None where no file of the folder tells.
    """

    def __init__(self, path: str | Path) -> None:
        """Reads `config.json` and the headers; no tensor, but to compare two that should be one.

        Raises:
            CheckpointFormatError: it is no such folder, its weights are pickled, the architecture
                is another, or a tensor is missing, too many or of another shape.
        """
        self.path = Path(path)
        settings = _read_settings(self.path)
        _refuse_pickles(self.path)
        self._tensors = stored_tensors(self.path)
        self._tensors.pop(_IGNORED, None)
        self._unify_embeddings()
        scaled = _scales_logits(settings)
        if scaled:
            self._drop_copied_head()
        self._head_is_embedding = not scaled and _HEAD not in self._tensors
        self.config = _config(settings, self.path / CONFIG, via_embedding=scaled)
        step = settings.get(_STEP)
        self.step = step if type(step) is int and step >= 0 else 0
        self.tokenizer = _tokenizer(self.path, settings)
        self._check()

    def read(self, name: str, layer: int | None) -> np.ndarray:
        """Reads one tensor, in our orientation."""
        if name == _LOGITS and self._head_is_embedding:
            return np.ascontiguousarray(self._tensors[_SHARED].read().T)
        tensor = self._tensors[tensor_name(name, layer)].read()
        return np.ascontiguousarray(tensor.T) if _is_transposed(name) else tensor

    def _unify_embeddings(self) -> None:
        for name in _SHARED_TOO:
            other = self._tensors.pop(name, None)
            if other is None:
                continue
            shared = self._tensors.setdefault(_SHARED, other)
            if not shared.same_bytes(other):
                raise CheckpointFormatError(
                    f"{other.file}: {name} differs from {_SHARED}; T5 has one table for both stacks."
                )

    def _drop_copied_head(self) -> None:
        head = self._tensors.pop(_HEAD, None)
        shared = self._tensors.get(_SHARED)
        if head is not None and (shared is None or not head.same_bytes(shared)):
            raise CheckpointFormatError(
                f"{head.file}: {_HEAD} differs from {_SHARED}, though {CONFIG} ties them; set"
                ' "tie_word_embeddings" to false there if the model is a T5 1.1 (Flan-T5, T0), or'
                f" remove {_HEAD} if it is a T5 1.0."
            )

    def _check(self) -> None:
        """Holds names and shapes against the model's."""
        expected: dict[str, tuple[int, ...]] = {}
        for parameter in parameters(self.config):
            if parameter.name == _LOGITS and self._head_is_embedding:
                continue
            shape = parameter.shape[::-1] if _is_transposed(parameter.name) else parameter.shape
            for layer in parameter.layers:
                expected[tensor_name(parameter.name, layer)] = shape
        for name in sorted(expected.keys() | self._tensors.keys()):
            tensor, shape = self._tensors.get(name), expected.get(name)
            if tensor is None:
                raise CheckpointFormatError(
                    f"{self.path}: {name} is absent; the folder is incomplete, or {CONFIG} is"
                    " another model's."
                )
            if tensor.shape != shape:
                wanted = "no place for it" if shape is None else f"the shape {list(shape)}"
                raise CheckpointFormatError(
                    f"{tensor.file}: {name} has shape {list(tensor.shape)}; the model of {CONFIG} has"
                    f" {wanted}."
                )


def tensor_name(name: str, layer: int | None) -> str:
    """Hugging Face's name of one of our parameters, or of one layer of it."""
    if name == _EMBEDDING:
        return _SHARED
    if name == _LOGITS:
        return _HEAD
    stack, *rest = name.split(".")
    if rest[0] == "relpos_bias":
        return f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    if rest[0] == f"{stack}_norm":
        return f"{stack}.final_layer_norm.weight"
    _, module, part, *_ = rest
    if part == "scale":
        module = _NORM.get(module) or module.removeprefix("pre_").removesuffix("_layer_norm")
        inner = "layer_norm"
    elif module == "mlp":
        inner = f"DenseReluDense.{part}"
    else:
        attention = "EncDecAttention" if module.startswith("encoder_") else "SelfAttention"
        inner = f"{attention}.{_LETTERS[part]}"
    return f"{stack}.block.{layer}.layer.{_SUBLAYER[stack][module]}.{inner}.weight"


def _is_transposed(name: str) -> bool:
    return name.endswith((".kernel", ".rel_embedding"))


def _read_settings(folder: Path) -> Mapping[str, Any]:
    file = folder / CONFIG
    try:
        settings = json.loads(file.read_bytes())
    except OSError as error:
        raise CheckpointFormatError(
            f"{file}: {error.strerror or error}; name a folder that transformers saved."
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointFormatError(f"{file}: its JSON is malformed.") from error
    if not isinstance(settings, dict) or settings.get("model_type") not in ("t5", "mt5"):
        kind = settings.get("model_type") if isinstance(settings, dict) else None
        raise CheckpointFormatError(
            f"{file}: model_type is {kind!r}; t5 (also Flan-T5, T0, ByT5) and mt5 are read."
        )
    return settings


def _refuse_pickles(folder: Path) -> None:
    if (folder / SINGLE).is_file() or (folder / INDEX).is_file():
        return
    found = [name for name in _PICKLES if (folder / name).exists()]
    raise CheckpointFormatError(
        f"{folder}: {'holds ' + found[0] + ' and ' if found else ''}no safetensors; pickled weights"
        " can run any code and are never loaded. Where you trust them, convert them once: python -c"
        ' "from transformers import AutoModelForSeq2SeqLM as M;'
        f" M.from_pretrained('{folder}').save_pretrained('{folder}-safetensors')\", and copy"
        f" {SENTENCEPIECE} there."
    )


def _scales_logits(settings: Mapping[str, Any]) -> bool:
    """Whether logits come from the embeddings, scaled, as T5 1.0 has it.

    Since its version 5, transformers says so in `scale_decoder_outputs`; before, tying implied it.
    mT5 never scales.
    """
    if settings["model_type"] == "mt5":
        return False
    said = settings.get("scale_decoder_outputs")
    return settings.get("tie_word_embeddings", True) is not False if said is None else bool(said)


def _config(settings: Mapping[str, Any], file: Path, *, via_embedding: bool) -> T5Config:
    for name, value in (("pad_token_id", 0), ("decoder_start_token_id", 0)):
        if settings.get(name) not in (None, value):
            raise CheckpointFormatError(
                f"{file}: {name} is {settings[name]}; T5 has {value}, and nothing else is read."
            )
    try:
        depth = settings["num_layers"]
        decoder_depth = settings.get("num_decoder_layers")
        return T5Config(
            vocab_size=settings["vocab_size"],
            emb_dim=settings["d_model"],
            num_heads=settings["num_heads"],
            head_dim=settings["d_kv"],
            mlp_dim=settings["d_ff"],
            num_encoder_layers=depth,
            num_decoder_layers=depth if decoder_depth is None else decoder_depth,
            dropout_rate=float(settings.get("dropout_rate", 0.1)),
            mlp_activations=_activations(settings, file),
            logits_via_embedding=via_embedding,
            relpos_buckets=settings.get("relative_attention_num_buckets", 32),
            relpos_max_distance=settings.get("relative_attention_max_distance", 128),
            layer_norm_epsilon=float(settings.get("layer_norm_epsilon", 1e-6)),
        )
    except KeyError as error:
        raise CheckpointFormatError(f"{file}: {error} is absent.") from error
    except (InputError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointFormatError):
            raise
        raise CheckpointFormatError(f"{file}: {error}") from error


def _activations(settings: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    default = "gated-gelu" if settings["model_type"] == "mt5" else "relu"
    projection = str(settings.get("feed_forward_proj", default))
    gated = projection.startswith("gated-")
    name = settings.get("dense_act_fn")
    if name is None:
        name = "gelu_new" if projection == "gated-gelu" else projection.removeprefix("gated-")
    if name not in _ACTIVATIONS:
        raise CheckpointFormatError(
            f"{file}: feed_forward_proj {projection!r} with {name!r} is not computed here; relu,"
            " gated-relu, gated-gelu, gated-silu and gelu_new are."
        )
    ours = _ACTIVATIONS[name]
    return (ours, "linear") if gated else (ours,)


def _tokenizer(folder: Path, settings: Mapping[str, Any]) -> Tokenizer | None:
    said: dict[str, Any] = {}
    if (folder / _TOKENIZER_CONFIG).is_file():
        try:
            read = json.loads((folder / _TOKENIZER_CONFIG).read_bytes())
        except (ValueError, RecursionError) as error:
            raise CheckpointFormatError(
                f"{folder / _TOKENIZER_CONFIG}: its JSON is malformed."
            ) from error
        said = read if isinstance(read, dict) else {}
    extra_ids = said.get("extra_ids")
    if type(extra_ids) is not int:
        extra_ids = None
    if re.fullmatch("ByT5Tokenizer(Fast)?", str(said.get("tokenizer_class"))):
        return Tokenizer("bytes", None, 125 if extra_ids is None else extra_ids)
    if not (folder / SENTENCEPIECE).is_file():
        return None
    if extra_ids is None:
        extra_ids = 0 if settings["model_type"] == "mt5" else 100
    return Tokenizer("sentencepiece", folder / SENTENCEPIECE, extra_ids)


def write_folder(
    folder: Path,
    weights: Weights,
    *,
    tokenizer: Tokenizer | None = None,
    dtype: str = "float32",
    shard_bytes: int = 5 * 10**9,
    on_piece: OnPiece = lambda done: None,
) -> None:
    """Writes a folder that `T5ForConditionalGeneration.from_pretrained` reads.

    Args:
        folder: gets the files; the caller sees to it that it appears whole.
        weights: what to write.
        tokenizer: copied along where given.
        dtype: one of `WRITTEN_DTYPES`.
        shard_bytes: size of a safetensors file.
        on_piece: told of the progress.

    Raises:
        CheckpointFormatError: a tensor of `weights` does not fit its model.
        InputError: the model is none that transformers has.
    """
    settings = _settings(weights.config, dtype, weights.step)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = [
        (
            tensor_name(parameter.name, layer),
            parameter.shape[::-1] if _is_transposed(parameter.name) else parameter.shape,
        )
        for parameter in parameters(weights.config)
        for layer in parameter.layers
    ]
    writer = SafetensorsWriter(folder, tensors, dtype=dtype, shard_bytes=shard_bytes)
    for parameter, layer, tensor in pieces(weights, FLOAT_DTYPES[dtype], on_piece):
        oriented = tensor.T if _is_transposed(parameter.name) else tensor
        writer.write(tensor_name(parameter.name, layer), oriented)
    writer.close()
    if tokenizer is not None:
        _write_tokenizer(folder, tokenizer)
    generation = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    _write_json(folder / "generation_config.json", generation)
    _write_json(folder / CONFIG, settings)


def _settings(config: T5Config, dtype: str, step: int) -> dict[str, Any]:
    if config.mlp_activations not in _PROJECTIONS:
        raise InputError(
            f"mlp_activations {config.mlp_activations} have no name in transformers; it has"
            f" {', '.join(map(str, _PROJECTIONS))}."
        )
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "d_model": config.emb_dim,
        "d_kv": config.head_dim,
        "d_ff": config.mlp_dim,
        "num_heads": config.num_heads,
        "num_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_decoder_layers,
        "relative_attention_num_buckets": config.relpos_buckets,
        "relative_attention_max_distance": config.relpos_max_distance,
        "dropout_rate": config.dropout_rate,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "feed_forward_proj": _PROJECTIONS[config.mlp_activations],
        "tie_word_embeddings": config.logits_via_embedding,
        "initializer_factor": 1.0,
        "use_cache": True,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": dtype,
        _STEP: step,
    }


def _write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    settings: dict[str, Any] = {
        "tokenizer_class": "ByT5Tokenizer" if tokenizer.path is None else "T5Tokenizer",
        "extra_ids": tokenizer.extra_ids,
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    if tokenizer.path is not None:
        shutil.copyfile(tokenizer.path, folder / SENTENCEPIECE)
    _write_json(folder / _TOKENIZER_CONFIG, settings)


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
