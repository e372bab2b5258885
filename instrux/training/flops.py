"""Model arithmetic and utilisation of the device.

Model FLOPs here are matrix products only, two operations a multiply-add, the backward pass twice
the forward, attention counted as the full square of the padded length, and nothing for what
rematerialisation computes again (the definition under which the PaLM paper, arXiv 2204.02311,
appendix B, reports utilisation). Padding is not useful work: positions that hold padding are left
out, so padded batches show as lower utilisation.
"""

import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from instrux.models.decoder_only import DecoderConfig
from instrux.models.families import ModelConfig
from instrux.models.t5 import T5Config

# Dense bfloat16 peak FLOP/s of one device, from the makers' data sheets.
_PEAKS = {
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989.4e12,
    "NVIDIA H200": 989.4e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}
_BACKWARD = 2  # of forward's cost


@dataclass(frozen=True)
class StepFlops:
    """FLOPs of forward and backward passes for one position that is not padding.

    Attributes:
        encoder_position: for a position of the inputs, the decoder's keys and values of it
            included; for a position of a prompt in a decoder-only model.
        decoder_position: for a position of the targets, the projection to the vocabulary included.
    """

    encoder_position: float
    decoder_position: float

    def total(self, encoder_positions: float, decoder_positions: float) -> float:
        """FLOPs of a training step over so many positions."""
        return self.encoder_position * encoder_positions + self.decoder_position * decoder_positions


def step_flops(config: ModelConfig, *, inputs_length: int, targets_length: int) -> StepFlops:
    """Counts the matrix products of a model with rows of these lengths."""
    lengths = {"inputs_length": inputs_length, "targets_length": targets_length}
    if isinstance(config, DecoderConfig):
        return decoder_only_flops(config, **lengths)
    return t5_flops(config, **lengths)


def decoder_only_flops(
    config: DecoderConfig, *, inputs_length: int, targets_length: int
) -> StepFlops:
    """Counts the matrix products of a decoder-only model with rows of both lengths together.

    The projection to the vocabulary counts for all positions: the model makes it for all.
    """
    joined_keys = config.kv_heads * config.head_dim
    projections = 2 * config.emb_dim * (2 * config.joined_kv + 2 * joined_keys)
    attention = 2 * 2 * (inputs_length + targets_length) * config.joined_kv
    feed_forward = 2 * config.emb_dim * config.mlp_dim * (len(config.mlp_activations) + 1)
    layers = config.num_layers * (projections + attention + feed_forward)
    position = (1 + _BACKWARD) * (layers + 2 * config.emb_dim * config.vocab_size)
    return StepFlops(encoder_position=position, decoder_position=position)


def t5_flops(config: T5Config, *, inputs_length: int, targets_length: int) -> StepFlops:
    """Counts the matrix products of a T5 with rows of these lengths."""
    joined_kv = config.num_heads * config.head_dim
    projection = 2 * config.emb_dim * joined_kv  # one of query, key, value, out
    feed_forward = 2 * config.emb_dim * config.mlp_dim * (len(config.mlp_activations) + 1)

    def attention(keys: int) -> int:
        return 2 * 2 * keys * joined_kv  # query x key, then weights x value

    encoder_layer = 4 * projection + attention(inputs_length) + feed_forward
    decoder_layer = (
        4 * projection
        + attention(targets_length)
        + 2 * projection
        + attention(inputs_length)
        + feed_forward
    )
    cross_keys_and_values = 2 * projection
    encoder = (
        config.num_encoder_layers * encoder_layer
        + config.num_decoder_layers * cross_keys_and_values
    )
    decoder = config.num_decoder_layers * decoder_layer + 2 * config.emb_dim * config.vocab_size
    passes = 1 + _BACKWARD
    return StepFlops(encoder_position=passes * encoder, decoder_position=passes * decoder)


def peak_flops_per_second(device: Any) -> float | None:
    """Peak of one device: from the data sheet, on a CPU measured, None for unknown hardware."""
    if device.platform == "cpu":
        return _measured_matmul() / jax.local_device_count()
    for kind, peak in _PEAKS.items():
        if device.device_kind.startswith(kind):
            return peak
    return None


def _measured_matmul(size: int = 1024, repetitions: int = 5) -> float:
    """Best float32 FLOP/s of a few square matrix products, which takes about a tenth of a second."""
    operand = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul)
    product(operand, operand).block_until_ready()
    best = float("inf")
    for _ in range(repetitions):
        start = time.perf_counter()
        product(operand, operand).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
