"""The sizes and settings of models: what all families have, and T5's."""

import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from instrux.errors import InputError, did_you_mean

ACTIVATIONS = ("gelu", "relu", "silu", "linear")
DTYPES = ("float32", "bfloat16")
REMAT_POLICIES = ("none", "dots", "full")
RANDOM_BITS = ("threefry2x32", "rbg", "unsafe_rbg")
ATTENTION_IMPLEMENTATIONS = ("auto", "plain", "rows", "amx", "xla", "cudnn", "pallas")


@dataclass(frozen=True, kw_only=True)
class SharedSettings:
    """Sizes and settings that the configuration of every family of models has.

    A configuration is hashable, so it may be a static argument of a jitted function.

    Attributes:
        vocab_size: rows of the embedding table, extra ids included.
        emb_dim: width of the residual stream.
        num_heads: attention heads.
        head_dim: width of a head; `num_heads * head_dim` need not be `emb_dim`.
        mlp_dim: inner width of the MLP.
        mlp_activations: one activation an input projection; their outputs are multiplied.
        dropout_rate: share of units dropped in training, in [0, 1).
        residual_dropout_only: drop in what attention and MLP add to the residual stream alone
            (InstructGPT, arXiv 2203.02155, appendix C), and not in embeddings, attention weights,
            the MLP's inner units and the output.
        dtype: dtype of the matrix products, `float32` or `bfloat16`. Parameters, norms, softmax
            and loss are float32 in either case.
        remat: what the backward pass computes anew: `none`, `dots` (all but the outputs of the
            weight products) or `full` (all but the inputs of layers).
        scan_layers: run a stack as one scanned layer: compile time does not grow with depth.
            False writes every layer out, which runs faster on CPU and for small models.
        random_bits: generator of dropout masks: `threefry2x32` gives the same masks on any
            number of devices; `rbg` and `unsafe_rbg` are cheaper on accelerators.
        attention: `plain` is the reference. `rows` is plain, one row of the batch at a time: the
            faster one for long rows on a lone CPU, and not for batches split over devices. `amx` is a
            kernel of ours in C++ for a lone CPU with matrix units (`cpu_kernels`). `xla` and
            `cudnn` go through `jax.nn.dot_product_attention` (`cudnn`: NVIDIA GPUs, bfloat16 only).
            `pallas` is a kernel of ours for TPUs and GPUs that holds neither logits nor bias (T5;
            decoder-only models fall back to `plain`). `auto` takes `amx`, `rows` or `plain` on a CPU,
            `pallas` on a TPU, and on a GPU `cudnn` where it can, else `pallas`.
        logits_chunk_mib: most memory that the loss gives to float32 logits at once, in MiB a
            device.
        prompt_length: embeddings of a soft prompt in front of every input (prompt tuning, Lester
            et al., arXiv 2104.08691); 0 for none.
        prompt_examples: examples of a packed row that there is room for with a prompt each.
        lora_rank: rank of the low-rank factors beside kernels (LoRA, Hu et al., arXiv
            2106.09685); 0 for none.
        lora_alpha: their product is scaled by `lora_alpha / lora_rank`.
        lora_dropout: share of the factors' input units dropped in training, in [0, 1).
        lora_targets: regular expression of the kernels that have factors, over their names from
            start to end; queries and values of every attention, as in the paper.
    """

    vocab_size: int
    emb_dim: int
    num_heads: int
    head_dim: int
    mlp_dim: int
    mlp_activations: tuple[str, ...]
    dropout_rate: float = 0.1
    residual_dropout_only: bool = False
    dtype: str = "float32"
    remat: str = "none"
    scan_layers: bool = True
    random_bits: str = "threefry2x32"
    attention: str = "auto"
    logits_chunk_mib: float = 64.0
    prompt_length: int = 0
    prompt_examples: int = 8
    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_dropout: float = 0.0
    lora_targets: str = r".*attention/(query|value)/kernel"

    def __post_init__(self) -> None:
        # gin and JSON give a list; the configuration has to be hashable.
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
        check_sizes(self, ("vocab_size", "emb_dim", "num_heads", "head_dim", "mlp_dim"))
        check_share(self, "dropout_rate")
        check_share(self, "lora_dropout")
        for name in ("prompt_length", "lora_rank"):
            if getattr(self, name):
                check_sizes(self, (name,))
        check_sizes(self, ("prompt_examples",))
        check_pattern(self, "lora_targets")
        check_above_zero(self, "lora_alpha")
        check_above_zero(self, "logits_chunk_mib")
        check_choice(self, "dtype", self.dtype, DTYPES)
        check_choice(self, "remat", self.remat, REMAT_POLICIES)
        check_choice(self, "random_bits", self.random_bits, RANDOM_BITS)
        check_choice(self, "attention", self.attention, ATTENTION_IMPLEMENTATIONS)

    @property
    def joined_kv(self) -> int:
        """Width of all heads of queries together."""
        return self.num_heads * self.head_dim

    @property
    def compute_dtype(self) -> jax.typing.DTypeLike:
        """The dtype of the matrix products."""
        return jnp.bfloat16 if self.dtype == "bfloat16" else jnp.float32


@dataclass(frozen=True, kw_only=True)
class T5Config(SharedSettings):
    """Sizes and settings of a T5 encoder-decoder.

    The defaults of the settings are those of T5 1.1. See `SharedSettings` for the others.

    Attributes:
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        mlp_activations: T5 1.1 has `("gelu", "linear")`, T5 1.0 `("relu",)`.
        logits_via_embedding: take the logits from the embedding table, scaled by
            `emb_dim ** -0.5`, as T5 1.0 does, and have no `logits_dense`.
        relpos_buckets: buckets of relative positions.
        relpos_max_distance: distance from which on all positions share the last bucket.
        relpos_per_layer: whether every layer has a table of relative positions of its own, as in
            umT5; otherwise the layers of a stack share one.
        layer_norm_epsilon: added to the mean square in a norm.
    """

    num_encoder_layers: int
    num_decoder_layers: int
    mlp_activations: tuple[str, ...] = ("gelu", "linear")
    logits_via_embedding: bool = False
    relpos_buckets: int = 32
    relpos_max_distance: int = 128
    relpos_per_layer: bool = False
    layer_norm_epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (
            "num_encoder_layers",
            "num_decoder_layers",
            "relpos_buckets",
            "relpos_max_distance",
        )
        check_sizes(self, sizes)
        check_activations(self, ACTIVATIONS, examples="('gelu', 'linear') or ('relu',)")
        if self.relpos_buckets % 4:
            raise InputError(
                f"T5Config.relpos_buckets = {self.relpos_buckets}: give a multiple of 4 "
                "(half are for each direction, and half of those for exact distances)"
            )


def check_sizes(config: object, names: tuple[str, ...]) -> None:
    """Raises an `InputError` unless these fields are whole numbers of at least 1."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(
                f"{type(config).__name__}.{name} = {value!r}: give a whole number of at least 1"
            )


def check_share(config: object, name: str) -> None:
    """Raises an `InputError` unless this field is a rate in [0, 1)."""
    value = getattr(config, name)
    if not 0.0 <= value < 1.0:
        raise InputError(f"{type(config).__name__}.{name} = {value}: give a rate in [0, 1)")


def check_pattern(config: object, name: str) -> None:
    """Raises an `InputError` unless this field is a regular expression."""
    try:
        re.compile(getattr(config, name))
    except (re.error, TypeError) as error:
        raise InputError(
            f"{type(config).__name__}.{name} = {getattr(config, name)!r} is no regular expression"
            f" ({error})"
        ) from error


def check_choice(config: object, name: str, value: str, known: tuple[str, ...]) -> None:
    """Raises an `InputError` unless `value`, of the field `name`, is one of `known`."""
    if value not in known:
        raise InputError(
            f"{type(config).__name__}.{name} = {value!r}: choose from {', '.join(known)}."
            f"{did_you_mean(str(value), known)}"
        )


def check_above_zero(config: object, name: str) -> None:
    """Raises an `InputError` unless this field is above 0."""
    value = getattr(config, name)
    if not value > 0.0:
        raise InputError(f"{type(config).__name__}.{name} = {value}: give one above 0")


def check_activations(config: SharedSettings, known: tuple[str, ...], *, examples: str) -> None:
    """Raises an `InputError` unless there are activations, and all are known."""
    if not config.mlp_activations:
        name = type(config).__name__
        raise InputError(f"{name}.mlp_activations is empty: give {examples}")
    for activation in config.mlp_activations:
        check_choice(config, "mlp_activations", activation, known)
