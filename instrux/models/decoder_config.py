"""The sizes and settings of a decoder-only language model."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from instrux.errors import InputError
from instrux.models.config import (
    ACTIVATIONS as T5_ACTIVATIONS,
)
from instrux.models.config import (
    ATTENTION_IMPLEMENTATIONS,
    DTYPES,
    RANDOM_BITS,
    REMAT_POLICIES,
    check_choice,
    check_share,
    check_sizes,
)

ACTIVATIONS = (*T5_ACTIVATIONS, "silu")
POSITIONS = ("learned", "rotary")
NORMS = ("layer", "rms")


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes and settings of a decoder-only language model.

    The defaults of the settings are GPT-2's. Llama's shape has `positions="rotary"`,
    `norm="rms"`, `use_bias=False`, `mlp_activations=("silu", "linear")`,
    `logits_via_embedding=False`, and fewer `num_kv_heads` than heads.

    Attributes:
        vocab_size: rows of the embedding table.
        emb_dim: width of the residual stream.
        num_heads: attention heads.
        head_dim: width of a head; even where positions are rotary.
        mlp_dim: inner width of the MLP.
        num_layers: layers.
        num_kv_heads: heads of keys and values, each shared by `num_heads / num_kv_heads` heads of
            queries; as many as `num_heads` where None.
        positions: `learned`, a table of `max_positions` added to the embeddings, or `rotary`,
            queries and keys turned by their position (Su et al., arXiv 2104.09864).
        max_positions: positions of the learned table. A prompt and its target have to fit in.
        rotary_base: base of the rotary frequencies.
        norm: `layer`, with mean and bias, or `rms`, without.
        use_bias: whether the linear maps of attention and MLP have biases.
        mlp_activations: one activation an input projection; their outputs are multiplied.
        logits_via_embedding: take the logits from the embedding table, unscaled, and have no
            `logits_dense`.
        prefix_lm: whether the positions of a prompt see all of the prompt, and only targets are
            causal. Then prompts have no loss.
        prompt_loss_weight: weight of a prompt's tokens in the loss, where a target's have 1.
        bos_id: the token before the first one of an example.
        dropout_rate: share of units dropped in training, in [0, 1).
        dtype: see `T5Config`, as for all that follow.
        layer_norm_epsilon: added to the variance or mean square in a norm.
        remat: see `T5Config`.
        scan_layers: see `T5Config`.
        random_bits: see `T5Config`.
        attention: see `T5Config`.
        logits_chunk_mib: see `T5Config`.
    """

    vocab_size: int
    emb_dim: int
    num_heads: int
    head_dim: int
    mlp_dim: int
    num_layers: int
    num_kv_heads: int | None = None
    positions: str = "learned"
    max_positions: int = 1024
    rotary_base: float = 10_000.0
    norm: str = "layer"
    use_bias: bool = True
    mlp_activations: tuple[str, ...] = ("gelu",)
    logits_via_embedding: bool = True
    prefix_lm: bool = False
    prompt_loss_weight: float = 0.0
    bos_id: int = 0
    dropout_rate: float = 0.1
    dtype: str = "float32"
    layer_norm_epsilon: float = 1e-5
    remat: str = "none"
    scan_layers: bool = True
    random_bits: str = "threefry2x32"
    attention: str = "auto"
    logits_chunk_mib: float = 64.0

    def __post_init__(self) -> None:
        # gin and JSON give a list; the configuration has to be hashable.
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
        self._check_sizes()
        self._check_choices()

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def joined_kv(self) -> int:
        """Width of all heads of queries together."""
        return self.num_heads * self.head_dim

    @property
    def compute_dtype(self) -> jax.typing.DTypeLike:
        """The dtype of the matrix products."""
        return jnp.bfloat16 if self.dtype == "bfloat16" else jnp.float32

    def check_length(self, length: int, what: str) -> None:
        """Checks that there is a position for every token of one example.

        Raises:
            InputError: positions are learned and there are fewer.
        """
        if self.positions == "learned" and length > self.max_positions:
            raise InputError(
                f"{what} take {length} positions and DecoderConfig.max_positions is"
                f" {self.max_positions}; shorten them, or train with more or with rotary positions."
            )

    def _check_sizes(self) -> None:
        sizes = (
            "vocab_size",
            "emb_dim",
            "num_heads",
            "head_dim",
            "mlp_dim",
            "num_layers",
            "kv_heads",
            "max_positions",
        )
        check_sizes(self, sizes)
        check_share(self, "dropout_rate")
        if self.num_heads % self.kv_heads:
            raise InputError(
                f"DecoderConfig.num_kv_heads = {self.kv_heads}: give a divisor of num_heads ="
                f" {self.num_heads}"
            )
        if self.positions == "rotary" and self.head_dim % 2:
            raise InputError(
                f"DecoderConfig.head_dim = {self.head_dim}: rotary positions need an even number"
            )
        if not 0 <= self.bos_id < self.vocab_size:
            raise InputError(f"DecoderConfig.bos_id = {self.bos_id}: give an id of the vocabulary")
        for name in ("rotary_base", "logits_chunk_mib"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"DecoderConfig.{name} = {getattr(self, name)}: give one above 0")

    def _check_choices(self) -> None:
        if not self.mlp_activations:
            raise InputError(
                "DecoderConfig.mlp_activations is empty: give ('gelu',) or ('silu', 'linear')"
            )
        for activation in self.mlp_activations:
            check_choice(self, "mlp_activations", activation, ACTIVATIONS)
        check_choice(self, "positions", self.positions, POSITIONS)
        check_choice(self, "norm", self.norm, NORMS)
        check_choice(self, "dtype", self.dtype, DTYPES)
        check_choice(self, "remat", self.remat, REMAT_POLICIES)
        check_choice(self, "random_bits", self.random_bits, RANDOM_BITS)
        check_choice(self, "attention", self.attention, ATTENTION_IMPLEMENTATIONS)
        if not self.prompt_loss_weight >= 0.0:
            raise InputError(
                f"DecoderConfig.prompt_loss_weight = {self.prompt_loss_weight}: give 0 or more"
            )
        if self.prefix_lm and self.prompt_loss_weight:
            raise InputError(
                "DecoderConfig.prompt_loss_weight: a prefix-LM sees its whole prompt, so there is"
                " nothing to predict in it; set it to 0 or prefix_lm to False"
            )
