"""Cross-entropy with z-loss and label smoothing, a chunk of positions at a time."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from instrux.models import products
from instrux.models.families import Model
from instrux.models.parts import Params
from instrux.models.sharding import constrain


class Loss(NamedTuple):
    """Sums over a batch, float32 scalars; divide by `weight` for means.

    Attributes:
        total: the loss to minimise: smoothed cross-entropy and z-loss. The only field that
            gradients flow through.
        nll: negative log-likelihood of the targets, without smoothing or z-loss.
        z_loss: the z-loss part of `total`.
        weight: sum of the weights.
        correct: weight of the positions whose most probable token is the target.
    """

    total: jax.Array
    nll: jax.Array
    z_loss: jax.Array
    weight: jax.Array
    correct: jax.Array


def loss(
    model: Model,
    params: Params,
    batch: Mapping[str, jax.Array],
    *,
    z_loss: float = 1e-4,
    label_smoothing: float = 0.0,
    dropout_key: jax.Array | None = None,
) -> Loss:
    """Computes the loss of a batch.

    Args:
        model: the model.
        params: its parameters.
        batch: SeqIO's features, each `[batch, length]`: `encoder_input_tokens`,
            `decoder_target_tokens`, `decoder_input_tokens`; if given `decoder_loss_weights`
            (otherwise 1 for every target but padding), and for packed rows
            `encoder_segment_ids` and `decoder_segment_ids`. A decoder-only model takes the
            features of `instrux.data.decoder_rows` instead.
        z_loss: factor of the squared log of the softmax's normaliser.
        label_smoothing: probability taken from the target and shared by all other tokens.
        dropout_key: draws dropout masks; None for no dropout.

    Returns:
        Sums, not means. A batch of weights that are all zero gives zeros.
    """
    hidden, targets, weights = model.loss_inputs(params, batch, dropout_key=dropout_key)
    hidden, kernel = model.logits_projection(params, hidden)
    return cross_entropy(
        hidden,
        kernel,
        targets,
        weights,
        z_loss=z_loss,
        label_smoothing=label_smoothing,
        chunk_mib=model.config.logits_chunk_mib,
    )


def cross_entropy(
    hidden: jax.Array,
    kernel: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    *,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    chunk_mib: float = 64.0,
) -> Loss:
    """Computes the cross-entropy of `hidden @ kernel` against targets.

    The logits exist for one chunk of positions at a time. Where a gradient is asked for, it is
    computed with the chunk's logits at hand, so they are never computed twice.

    Args:
        hidden: `[batch, length, embed]`.
        kernel: `[embed, vocab]`.
        targets: int `[batch, length]`.
        weights: float32 `[batch, length]`.
        z_loss: factor of the squared log of the softmax's normaliser.
        label_smoothing: probability taken from the target and shared by all other tokens.
        chunk_mib: most memory for a chunk's float32 logits, in MiB a device.

    Returns:
        Sums, not means.
    """
    batch, length = targets.shape
    chunk = _chunk_length(batch, length, kernel.shape[1], chunk_mib)
    padding = ((0, 0), (0, -length % chunk))
    targets, weights = jnp.pad(targets, padding), jnp.pad(weights, padding)
    hidden = jnp.pad(hidden, (*padding, (0, 0)))
    settings = (z_loss, label_smoothing, chunk)
    return Loss(*_differentiable_sums(hidden, kernel, targets, weights, settings))


def log_probabilities(
    hidden: jax.Array, kernel: jax.Array, targets: jax.Array, *, chunk_mib: float = 64.0
) -> jax.Array:
    """Gives the log-probability of each target under `hidden @ kernel`, a chunk at a time.

    Args:
        hidden: `[batch, length, embed]`.
        kernel: `[embed, vocab]`.
        targets: int `[batch, length]`.
        chunk_mib: most memory for a chunk's float32 logits, in MiB a device.

    Returns:
        float32 `[batch, length]`.
    """
    batch, length = targets.shape
    chunk = _chunk_length(batch, length, kernel.shape[1], chunk_mib)
    padding = ((0, 0), (0, -length % chunk))
    hidden = jnp.pad(hidden, (*padding, (0, 0)))

    def body(carry, inputs):
        chunk_hidden, chunk_targets = inputs
        log_normalizer, target_logits, _ = _normalize(_logits(chunk_hidden, kernel), chunk_targets)
        return carry, target_logits - log_normalizer

    chunks = (_split(hidden, chunk), _split(jnp.pad(targets, padding), chunk))
    return _join(_scan(body, None, chunks)[1])[:, :length]


def _chunk_length(batch: int, length: int, vocab: int, chunk_mib: float) -> int:
    """The length of chunks, about equal, that keeps a chunk's logits within the memory."""
    rows = chunk_mib * 2**20 * jax.device_count() / (4 * vocab)
    most = max(1, int(rows / batch))
    return math.ceil(length / math.ceil(length / most))


def _sums(hidden, kernel, targets, weights, settings):
    z_loss, label_smoothing, chunk = settings

    def body(sums, inputs):
        chunk_hidden, chunk_targets, chunk_weights = inputs
        logits = _logits(chunk_hidden, kernel)
        parts = _chunk_sums(logits, chunk_targets, chunk_weights, z_loss, label_smoothing)[0]
        return tuple(map(jnp.add, sums, parts)), None

    chunks = tuple(_split(array, chunk) for array in (hidden, targets, weights))
    return _scan(body, _zeros(), chunks)[0]


def _sums_forward(hidden, kernel, targets, weights, settings):
    z_loss, label_smoothing, chunk = settings

    def body(carry, inputs):
        sums, kernel_gradient = carry
        chunk_hidden, chunk_targets, chunk_weights = inputs
        logits = _logits(chunk_hidden, kernel)
        parts, log_normalizer = _chunk_sums(
            logits, chunk_targets, chunk_weights, z_loss, label_smoothing
        )
        gradient = _logits_gradient(
            logits, log_normalizer, chunk_targets, chunk_weights, z_loss, label_smoothing
        ).astype(hidden.dtype)
        hidden_gradient = products.map_back(gradient, kernel, hidden.dtype)
        kernel_gradient = kernel_gradient + products.sum_rows(chunk_hidden, gradient, jnp.float32)
        kernel_gradient = constrain(kernel_gradient, "embed", "vocab")
        return (tuple(map(jnp.add, sums, parts)), kernel_gradient), hidden_gradient

    chunks = tuple(_split(array, chunk) for array in (hidden, targets, weights))
    start = (_zeros(), jnp.zeros(kernel.shape, jnp.float32))
    (sums, kernel_gradient), hidden_gradients = _scan(body, start, chunks)
    return sums, (_join(hidden_gradients), kernel_gradient.astype(kernel.dtype))


def _sums_backward(settings, residuals, cotangents):
    del settings
    total = cotangents[0]
    hidden_gradient, kernel_gradient = residuals
    return (
        hidden_gradient * total.astype(hidden_gradient.dtype),
        kernel_gradient * total.astype(kernel_gradient.dtype),
        None,
        None,
    )


_differentiable_sums = jax.custom_vjp(_sums, nondiff_argnums=(4,))
_differentiable_sums.defvjp(_sums_forward, _sums_backward)


def _zeros() -> tuple[jax.Array, ...]:
    return tuple(jnp.zeros((), jnp.float32) for _ in Loss._fields)


def _split(array: jax.Array, chunk: int) -> jax.Array:
    """`[batch, length, ...]` to `[chunks, batch, chunk, ...]`: the batch stays as it is split."""
    batch, length = array.shape[:2]
    return jnp.moveaxis(array.reshape(batch, length // chunk, chunk, *array.shape[2:]), 1, 0)


def _join(chunks: Any) -> jax.Array:
    """The inverse of `_split`."""
    count, batch, chunk = chunks.shape[:3]
    return jnp.moveaxis(chunks, 0, 1).reshape(batch, count * chunk, *chunks.shape[3:])


def _scan(body, carry, chunks):
    """`jax.lax.scan`, without its loop where there is one chunk."""
    if chunks[0].shape[0] > 1:
        return jax.lax.scan(body, carry, chunks)
    carry, output = body(carry, tuple(array[0] for array in chunks))
    return carry, None if output is None else output[None]


def _logits(hidden: jax.Array, kernel: jax.Array) -> jax.Array:
    logits = products.map_rows(hidden, kernel, jnp.float32)
    return constrain(logits, "batch", "length", "vocab")


def _normalize(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The log of the softmax's normaliser, the targets' logits and the highest, `[batch, chunk]`."""
    highest = jnp.max(logits, axis=-1)
    log_normalizer = highest + jnp.log(jnp.sum(jnp.exp(logits - highest[..., None]), axis=-1))
    target_logits = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return log_normalizer, target_logits, highest


def _smoothed(vocab: int, label_smoothing: float) -> tuple[float, float, float]:
    """Probability of the target, of any other token, and the entropy of that distribution."""
    confidence = 1.0 - label_smoothing
    other = label_smoothing / max(1, vocab - 1)
    entropy = -sum(
        count * p * math.log(p) for count, p in ((1, confidence), (vocab - 1, other)) if p > 0.0
    )
    return confidence, other, entropy


def _chunk_sums(logits, targets, weights, z_loss, label_smoothing):
    """The fields of `Loss` over one chunk, and the log of the softmax's normaliser."""
    confidence, other, entropy = _smoothed(logits.shape[-1], label_smoothing)
    log_normalizer, target_logits, highest = _normalize(logits, targets)
    nll = log_normalizer - target_logits
    smoothed = nll
    if label_smoothing > 0.0:
        expected = (confidence - other) * target_logits + other * jnp.sum(logits, axis=-1)
        # Less the entropy of the smoothed targets, so that a perfect model's loss is 0.
        smoothed = log_normalizer - expected - entropy
    penalty = z_loss * jnp.square(log_normalizer)
    sums = (
        jnp.sum(weights * (smoothed + penalty)),
        jnp.sum(weights * nll),
        jnp.sum(weights * penalty),
        jnp.sum(weights),
        jnp.sum(weights * (target_logits >= highest)),
    )
    return sums, log_normalizer


def _logits_gradient(logits, log_normalizer, targets, weights, z_loss, label_smoothing):
    """The gradient of `Loss.total` by the logits, float32 `[batch, chunk, vocab]`."""
    confidence, other, _ = _smoothed(logits.shape[-1], label_smoothing)
    factor = weights * (1.0 + 2.0 * z_loss * log_normalizer)
    gradient = jnp.exp(logits - log_normalizer[..., None]) * factor[..., None]
    is_target = targets[..., None] == np.arange(logits.shape[-1], dtype=np.int32)
    wanted = jnp.where(is_target, jnp.float32(confidence), jnp.float32(other))
    return gradient - weights[..., None] * wanted
