"""The layout of Llama's folders, Llama 3.1 to 3.3 with scaled rotary frequencies among them.

Tensors are stored for `x @ W.T`, so kernels are transposed. In transformers' folders, as here, unit
i of a head's first half turns with unit i of its second, so nothing has to be permuted; in the
files that Meta publishes, neighbours turn together, and transformers' own script permutes them.
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
from instrux.interop.parameters import CheckpointFormatError
from instrux.models.decoder_config import DecoderConfig

_HEAD, _TABLE = "lm_head.weight", "model.embed_tokens.weight"
_MODULES = {
    "pre_attention_layer_norm": "input_layernorm",
    "pre_mlp_layer_norm": "post_attention_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.out": "self_attn.o_proj",
    "mlp.wi_0": "mlp.gate_proj",
    "mlp.wi_1": "mlp.up_proj",
    "mlp.wo": "mlp.down_proj",
}
_LEAVES = {"scale": "weight", "kernel": "weight", "bias": "bias"}
# In files of transformers before version 4.32; computed anew.
_FREQUENCIES = ".rotary_emb.inv_freq"
_SCALING = (
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
)
_NAMES = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}


def read(settings: Settings, file: Path, tensors: Tensors) -> StoredModel:
    """Tells the model of a folder; see `Layout.read`."""
    tensors = {name: t for name, t in tensors.items() if not name.endswith(_FREQUENCIES)}
    refuse_other_values(settings, file, {"pretraining_tp": (1, None)})
    tied = settings.get("tie_word_embeddings", False) is True
    if tied:
        drop_copy(tensors, _HEAD, _TABLE, mend='set "tie_word_embeddings" to false there')
    config = _config(settings, file, tied=tied)
    return StoredModel(config, tensors, place_of(config))


def _config(settings: Settings, file: Path, *, tied: bool) -> DecoderConfig:
    width = required(settings, "hidden_size", file)
    heads = required(settings, "num_attention_heads", file)
    head_dim = settings.get("head_dim")
    if head_dim is None:
        head_dim = width // heads if isinstance(width, int) and isinstance(heads, int) else heads
    bias, mlp_bias = (bool(settings.get(name)) for name in ("attention_bias", "mlp_bias"))
    if bias != mlp_bias:
        raise CheckpointFormatError(
            f"{file}: attention_bias is {bias} and mlp_bias {mlp_bias}; a model here has both or none."
        )
    bos_id = settings.get("bos_token_id")
    values = {
        "vocab_size": required(settings, "vocab_size", file),
        "emb_dim": width,
        "num_heads": heads,
        "num_kv_heads": settings.get("num_key_value_heads"),
        "head_dim": head_dim,
        "mlp_dim": required(settings, "intermediate_size", file),
        "num_layers": required(settings, "num_hidden_layers", file),
        "max_positions": settings.get("max_position_embeddings", 2048),
        "positions": "rotary",
        "norm": "rms",
        "use_bias": bias,
        "mlp_activations": (activation(settings, "hidden_act", "silu", file), "linear"),
        "logits_via_embedding": tied,
        "dropout_rate": float(settings.get("attention_dropout", 0.0)),
        "layer_norm_epsilon": float(settings.get("rms_norm_eps", 1e-6)),
        "bos_id": 1 if bos_id is None else bos_id,
        **_rotary(settings, file),
    }
    return make_config(file, values)


def _rotary(settings: Settings, file: Path) -> dict[str, Any]:
    """Base and scaling of the rotary frequencies.

    transformers keeps both in `rope_parameters` since its version 5, before in `rope_theta` and
    `rope_scaling`.
    """
    said = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    if not isinstance(said, dict):
        raise CheckpointFormatError(f"{file}: rope_parameters is no object.")
    base = said.get("rope_theta", settings.get("rope_theta", 10_000.0))
    kind = said.get("rope_type", said.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise CheckpointFormatError(
            f"{file}: rotary frequencies of type {kind!r} are not computed here; 'default' and"
            " 'llama3' are."
        )
    scaling = None
    if kind == "llama3":
        scaling = tuple(required(said, name, file) for name in _SCALING)
    return {"rotary_base": float(base), "rotary_scaling": scaling}


def place_of(config: DecoderConfig) -> PlaceOf:
    """Where parameters lie; see `Layout.place_of`."""
    del config
    return _place


def _place(name: str, layer: int | None) -> Place:
    if name == LOGITS:
        return Place(_HEAD, transposed=True)
    if name == "token_embedder.embedding":
        return Place(_TABLE)
    if name == "decoder.decoder_norm.scale":
        return Place("model.norm.weight")
    module, _, leaf = name.removeprefix("decoder.layers.").rpartition(".")
    return Place(f"model.layers.{layer}.{_MODULES[module]}.{_LEAVES[leaf]}", leaf == "kernel")


def settings(config: DecoderConfig) -> dict[str, Any]:
    """What `config.json` says of a model; see `Layout.settings`."""
    gated = len(config.mlp_activations) == 2 and config.mlp_activations[1] == "linear"
    for name, fits in (
        ("norm", config.norm == "rms"),
        ("mlp_activations", gated and config.mlp_activations[0] in _NAMES),
        ("prefix_lm", not config.prefix_lm),
    ):
        refuse_unless(fits, config, name, "Llama")
    rotary: dict[str, Any] = {"rope_theta": config.rotary_base, "rope_type": "default"}
    if config.rotary_scaling is not None:
        scaling = dict(zip(_SCALING, config.rotary_scaling, strict=True))
        rotary |= {"rope_type": "llama3", **scaling}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.emb_dim,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.mlp_dim,
        "num_hidden_layers": config.num_layers,
        "max_position_embeddings": config.max_positions,
        "hidden_act": _NAMES[config.mlp_activations[0]],
        "attention_bias": config.use_bias,
        "mlp_bias": config.use_bias,
        "attention_dropout": config.dropout_rate,
        "rms_norm_eps": config.layer_norm_epsilon,
        "rope_parameters": rotary,
        # Where transformers before version 5 looks.
        "rope_theta": config.rotary_base,
        "rope_scaling": None if config.rotary_scaling is None else rotary,
        "tie_word_embeddings": config.logits_via_embedding,
        "bos_token_id": config.bos_id,
        "eos_token_id": 2,
        "use_cache": True,
    }
