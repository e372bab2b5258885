"""Hugging Face's T5 with our parameters: the peer of the model benchmarks and tests."""

import argparse
from typing import Any

import jax
import numpy as np
import torch
import transformers

from instrux.models.host_memory import keep_freed_memory
from instrux.models.t5 import Params, T5Config


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Adds what the model benchmarks share, parses, and sets how the process keeps memory.

    That holds for both sides of a race: they share the process.
    """
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--inputs", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--system_malloc", action="store_true", help="leave glibc's defaults")
    options = parser.parse_args()
    if not options.system_malloc:
        keep_freed_memory()
    return options


def t5_1_1_small(*, layers: int = 8, vocab_size: int = 32128) -> T5Config:
    """T5 1.1 small, its layers written out, with so many layers a stack and pieces."""
    return T5Config(
        vocab_size=vocab_size,
        emb_dim=512,
        num_heads=6,
        head_dim=64,
        mlp_dim=1024,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
        scan_layers=False,
    )


def peer_of(config: T5Config, params: Params) -> transformers.T5ForConditionalGeneration:
    """Builds Hugging Face's model of a configuration, with the same weights, in eval mode."""
    gated = len(config.mlp_activations) == 2
    peer_config = transformers.T5Config(
        vocab_size=config.vocab_size,
        d_model=config.emb_dim,
        d_kv=config.head_dim,
        d_ff=config.mlp_dim,
        num_layers=config.num_encoder_layers,
        num_decoder_layers=config.num_decoder_layers,
        num_heads=config.num_heads,
        relative_attention_num_buckets=config.relpos_buckets,
        relative_attention_max_distance=config.relpos_max_distance,
        dropout_rate=config.dropout_rate,
        layer_norm_epsilon=config.layer_norm_epsilon,
        feed_forward_proj="gated-gelu" if gated else config.mlp_activations[0],
        tie_word_embeddings=config.logits_via_embedding,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    model = transformers.T5ForConditionalGeneration(peer_config)
    # transformers 5.23 ties the head of every T5 to the embeddings, whatever the configuration
    # says; a fresh parameter unties it.
    model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    weights = {name: np.asarray(value) for name, value in _weights(config, params).items()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(np.array(weights.pop(name))))
    assert not weights, sorted(weights)
    return model.eval()


def _weights(config: T5Config, params: Params) -> dict[str, Any]:
    encoder, decoder = params["encoder"], params["decoder"]
    embedding = params["token_embedder"]["embedding"]
    head = embedding if config.logits_via_embedding else decoder["logits_dense"]["kernel"].T
    weights = {
        "shared.weight": embedding,
        "encoder.final_layer_norm.weight": encoder["encoder_norm"]["scale"],
        "decoder.final_layer_norm.weight": decoder["decoder_norm"]["scale"],
        "lm_head.weight": head,
    }
    attention = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    for name, stack in (("encoder", encoder), ("decoder", decoder)):
        weights[f"{name}.{attention}"] = stack["relpos_bias"]["rel_embedding"].T
    for index in range(config.num_encoder_layers):
        layer = jax.tree.map(lambda array, index=index: array[index], encoder["layers"])
        prefix = f"encoder.block.{index}.layer"
        weights |= _block(f"{prefix}.0", "SelfAttention", layer, "attention")
        weights |= _mlp(f"{prefix}.1", layer)
    for index in range(config.num_decoder_layers):
        layer = jax.tree.map(lambda array, index=index: array[index], decoder["layers"])
        prefix = f"decoder.block.{index}.layer"
        weights |= _block(f"{prefix}.0", "SelfAttention", layer, "self_attention")
        weights |= _block(f"{prefix}.1", "EncDecAttention", layer, "encoder_decoder_attention")
        weights |= _mlp(f"{prefix}.2", layer)
    return weights


def _block(prefix: str, peer_name: str, layer: Params, name: str) -> dict[str, Any]:
    norm = "pre_cross_attention" if name.startswith("encoder_") else f"pre_{name}"
    letters = {"q": "query", "k": "key", "v": "value", "o": "out"}
    kernels = {
        f"{prefix}.{peer_name}.{letter}.weight": layer[name][projection]["kernel"].T
        for letter, projection in letters.items()
    }
    return kernels | {f"{prefix}.layer_norm.weight": layer[f"{norm}_layer_norm"]["scale"]}


def _mlp(prefix: str, layer: Params) -> dict[str, Any]:
    kernels = {
        f"{prefix}.DenseReluDense.{name}.weight": projection["kernel"].T
        for name, projection in layer["mlp"].items()
    }
    return kernels | {f"{prefix}.layer_norm.weight": layer["pre_mlp_layer_norm"]["scale"]}
