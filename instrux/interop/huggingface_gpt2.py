"""The layout of GPT-2's folders.

Kernels are stored for `x @ W`, as here. Queries, keys and values are the columns of one tensor.
"""

from pathlib import Path
from typing import Any

from instrux.interop.huggingface_decoder import (
    ACTIVATIONS,
    LOGITS,
    activation,
    make_config,
    refuse_unless,
    required,
)
from instrux.interop.huggingface_layout import (
    Place,
    PlaceOf,
    Settings,
    StoredModel,
    Tensors,
    drop_copy,
    refuse_other_values,
)
from instrux.models.decoder_config import DecoderConfig

_PREFIX = "transformer."
_HEAD, _TABLE = "lm_head.weight", f"{_PREFIX}wte.weight"
_OUTSIDE = {
    "token_embedder.embedding": _TABLE,
    "position_embedder.embedding": f"{_PREFIX}wpe.weight",
    "decoder.decoder_norm.scale": f"{_PREFIX}ln_f.weight",
    "decoder.decoder_norm.bias": f"{_PREFIX}ln_f.bias",
}
_MODULES = {
    "pre_attention_layer_norm": "ln_1",
    "pre_mlp_layer_norm": "ln_2",
    "attention.out": "attn.c_proj",
    "mlp.wi": "mlp.c_fc",
    "mlp.wo": "mlp.c_proj",
}
_FUSED = ("attention.query", "attention.key", "attention.value")
_LEAVES = {"scale": "weight", "kernel": "weight", "bias": "bias"}
# Causal masks, which old files hold beside the parameters.
_MASKS = (".attn.bias", ".attn.masked_bias")
_ONLY = {
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
_NAMES = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}


def read(settings: Settings, file: Path, tensors: Tensors) -> StoredModel:
    """Tells the model of a folder; see `Layout.read`."""
    tensors = {_with_prefix(name): t for name, t in tensors.items() if not name.endswith(_MASKS)}
    refuse_other_values(settings, file, _ONLY)
    tied = settings.get("tie_word_embeddings", True) is not False
    if tied:
        drop_copy(tensors, _HEAD, _TABLE, mend='set "tie_word_embeddings" to false there')
    config = _config(settings, file, tied=tied)
    return StoredModel(config, tensors, place_of(config))


def _with_prefix(name: str) -> str:
    """The name with the prefix that the first files of GPT-2 do not have."""
    return name if name == _HEAD or name.startswith(_PREFIX) else _PREFIX + name


def _config(settings: Settings, file: Path, *, tied: bool) -> DecoderConfig:
    width, heads = required(settings, "n_embd", file), required(settings, "n_head", file)
    inner, bos_id = settings.get("n_inner"), settings.get("bos_token_id")
    values = {
        "vocab_size": required(settings, "vocab_size", file),
        "emb_dim": width,
        "num_heads": heads,
        "head_dim": width // heads if isinstance(width, int) and isinstance(heads, int) else heads,
        "mlp_dim": 4 * width if inner is None else inner,
        "num_layers": required(settings, "n_layer", file),
        "max_positions": required(settings, "n_positions", file),
        "mlp_activations": (activation(settings, "activation_function", "gelu_new", file),),
        "logits_via_embedding": tied,
        "dropout_rate": float(settings.get("resid_pdrop", 0.1)),
        "layer_norm_epsilon": float(settings.get("layer_norm_epsilon", 1e-5)),
        "bos_id": 0 if bos_id is None else bos_id,
    }
    return make_config(file, values)


def place_of(config: DecoderConfig) -> PlaceOf:
    """Where parameters lie; see `Layout.place_of`."""
    width = config.joined_kv

    def place(name: str, layer: int | None) -> Place:
        if name == LOGITS:
            return Place(_HEAD, transposed=True)
        if name in _OUTSIDE:
            return Place(_OUTSIDE[name])
        module, _, leaf = name.removeprefix("decoder.layers.").rpartition(".")
        layers = f"{_PREFIX}h.{layer}"
        if module in _FUSED:
            first = _FUSED.index(module) * width
            tensor = f"{layers}.attn.c_attn.{_LEAVES[leaf]}"
            return Place(tensor, columns=(first, first + width))
        return Place(f"{layers}.{_MODULES[module]}.{_LEAVES[leaf]}")

    return place


def settings(config: DecoderConfig) -> dict[str, Any]:
    """What `config.json` says of a model; see `Layout.settings`."""
    for name, fits in (
        ("norm", config.norm == "layer"),
        ("use_bias", config.use_bias),
        ("kv_heads", config.kv_heads == config.num_heads),
        ("head_dim", config.joined_kv == config.emb_dim),
        ("mlp_activations", config.mlp_activations[0] in _NAMES and not config.mlp_activations[1:]),
        ("prefix_lm", not config.prefix_lm),
    ):
        refuse_unless(fits, config, name, "GPT-2")
    dropouts = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout_rate)
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_embd": config.emb_dim,
        "n_head": config.num_heads,
        "n_layer": config.num_layers,
        "n_positions": config.max_positions,
        "n_ctx": config.max_positions,
        "n_inner": config.mlp_dim,
        "activation_function": _NAMES[config.mlp_activations[0]],
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "tie_word_embeddings": config.logits_via_embedding,
        "bos_token_id": config.bos_id,
        "eos_token_id": config.bos_id,
        "use_cache": True,
        **dropouts,
    }
