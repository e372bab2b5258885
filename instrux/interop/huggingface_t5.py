"""The layout of T5's folders: T5 1.0 and 1.1, mT5, umT5, ByT5, Flan-T5, T0, UL2.

Tensors are stored for `x @ W.T`, so kernels are transposed. docs/checkpoints.md has the table of
names.
"""

from pathlib import Path
from typing import Any

from instrux.errors import InputError
from instrux.interop.huggingface_layout import (
    Place,
    PlaceOf,
    Settings,
    StoredModel,
    Tensors,
    drop_copy,
)
from instrux.interop.parameters import CheckpointFormatError
from instrux.models.t5 import T5Config

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


def read(settings: Settings, file: Path, tensors: Tensors) -> StoredModel:
    """Tells the model of a folder; see `Layout.read`."""
    tensors.pop(_IGNORED, None)
    _unify_embeddings(tensors)
    if settings["model_type"] == "umt5":
        scaled = not _has_own_head(tensors)
    else:
        scaled = _scales_logits(settings)
    if scaled:
        drop_copy(
            tensors,
            _HEAD,
            _SHARED,
            mend='set "tie_word_embeddings" to false there if the model is a T5 1.1 (Flan-T5, T0), or'
            f" remove {_HEAD} if it is a T5 1.0",
        )
    config = _config(settings, file, via_embedding=scaled)
    if scaled or _HEAD in tensors:
        return StoredModel(config, tensors, place_of(config))
    return StoredModel(config, tensors, _with_head_of_embeddings)


def place_of(config: T5Config) -> PlaceOf:
    """Where parameters lie; see `Layout.place_of`."""
    del config
    return _place


def _place(name: str, layer: int | None) -> Place:
    return Place(tensor_name(name, layer), name.endswith((".kernel", ".rel_embedding")))


def _with_head_of_embeddings(name: str, layer: int | None) -> Place:
    """A head that is tied and not scaled, which here is a kernel of its own."""
    return Place(_SHARED, transposed=True) if name == _LOGITS else _place(name, layer)


def _unify_embeddings(tensors: Tensors) -> None:
    for name in _SHARED_TOO:
        other = tensors.pop(name, None)
        if other is None:
            continue
        shared = tensors.setdefault(_SHARED, other)
        if not shared.same_bytes(other):
            raise CheckpointFormatError(
                f"{other.file}: {name} differs from {_SHARED}; T5 has one table for both stacks."
            )


def tensor_name(name: str, layer: int | None) -> str:
    """Hugging Face's name of one of our parameters, or of one layer of it."""
    if name == _EMBEDDING:
        return _SHARED
    if name == _LOGITS:
        return _HEAD
    stack, *rest = name.split(".")
    if "relpos_bias" in rest:
        return f"{stack}.block.{layer or 0}.layer.0.SelfAttention.relative_attention_bias.weight"
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


def _has_own_head(tensors: Tensors) -> bool:
    """Whether a umT5 has a head besides its embeddings.

    Its config.json does not tell: transformers 5 writes that they are tied whatever they are.
    """
    head, shared = tensors.get(_HEAD), tensors.get(_SHARED)
    return head is not None and (shared is None or not head.same_bytes(shared))


def _scales_logits(settings: Settings) -> bool:
    """Whether logits come from the embeddings, scaled, as T5 1.0 has it.

    Since its version 5, transformers says so in `scale_decoder_outputs`; before, tying implied it.
    mT5 never scales.
    """
    if settings["model_type"] == "mt5":
        return False
    said = settings.get("scale_decoder_outputs")
    return settings.get("tie_word_embeddings", True) is not False if said is None else bool(said)


def _config(settings: Settings, file: Path, *, via_embedding: bool) -> T5Config:
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
            relpos_per_layer=settings["model_type"] == "umt5",
            layer_norm_epsilon=float(settings.get("layer_norm_epsilon", 1e-6)),
        )
    except KeyError as error:
        raise CheckpointFormatError(f"{file}: {error} is absent.") from error
    except (InputError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointFormatError):
            raise
        raise CheckpointFormatError(f"{file}: {error}") from error


def _activations(settings: Settings, file: Path) -> tuple[str, ...]:
    default = "relu" if settings["model_type"] == "t5" else "gated-gelu"
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


def settings(config: T5Config) -> dict[str, Any]:
    """What `config.json` says of a model; see `Layout.settings`."""
    if config.mlp_activations not in _PROJECTIONS:
        raise InputError(
            f"mlp_activations {config.mlp_activations} have no name in transformers; it has"
            f" {', '.join(map(str, _PROJECTIONS))}."
        )
    family = "umt5" if config.relpos_per_layer else "t5"
    return {
        "architectures": [f"{family.upper()}ForConditionalGeneration"],
        "model_type": family,
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
    }
