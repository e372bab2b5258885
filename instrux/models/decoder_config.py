"""The sizes and settings of a decoder-only language model."""

from dataclasses import dataclass

from instrux.errors import InputError
from instrux.models.config import (
    ACTIVATIONS,
    SharedSettings,
    check_above_zero,
    check_activations,
    check_choice,
    check_sizes,
)

POSITIONS = ("learned", "rotary")
NORMS = ("layer", "rms")


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(SharedSettings):
    """Sizes and settings of a decoder-only language model.

    The defaults of the settings are GPT-2's. Llama's shape has `positions="rotary"`,
    `norm="rms"`, `use_bias=False`, `mlp_activations=("silu", "linear")`,
    `logits_via_embedding=False`, and fewer `num_kv_heads` than heads. See `SharedSettings` for the
    others.

    Attributes:
        num_layers: layers.
        num_kv_heads: heads of keys and values, each shared by `num_heads / num_kv_heads` heads of
            queries; as many as `num_heads` where None.
        positions: `learned`, a table of `max_positions` added to the embeddings, or `rotary`,
            queries and keys turned by their position (Su et al., arXiv 2104.09864), for which
            `head_dim` is even.
        max_positions: positions of the learned table. A prompt and its target have to fit in.
        rotary_base: base of the rotary frequencies.
        rotary_scaling: how Llama 3.1 stretches them: factor, low and high frequency factors, and
            the positions it was first trained on (8, 1, 4 and 8192 there); None for not at all.
        norm: `layer`, with mean and bias, or `rms`, without.
        use_bias: whether the linear maps of attention and MLP have biases.
        mlp_activations: `("gelu",)`, or gated as `("silu", "linear")`.
        logits_via_embedding: take the logits from the embedding table, unscaled, and have no
            `logits_dense`.
        prefix_lm: whether the positions of a prompt see all of the prompt, and only targets are
            causal. Then prompts have no loss.
        prompt_loss_weight: weight of a prompt's tokens in the loss, where a target's have 1.
        bos_id: the token before the first one of an example.
        layer_norm_epsilon: added to the variance or mean square in a norm.
    """

    num_layers: int
    num_kv_heads: int | None = None
    positions: str = "learned"
    max_positions: int = 1024
    rotary_base: float = 10_000.0
    rotary_scaling: tuple[float, float, float, int] | None = None
    norm: str = "layer"
    use_bias: bool = True
    mlp_activations: tuple[str, ...] = ("gelu",)
    logits_via_embedding: bool = True
    prefix_lm: bool = False
    prompt_loss_weight: float = 0.0
    bos_id: int = 0
    layer_norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self, ("num_layers", "kv_heads", "max_positions"))
        check_above_zero(self, "rotary_base")
        check_activations(self, ACTIVATIONS, examples="('gelu',) or ('silu', 'linear')")
        check_choice(self, "positions", self.positions, POSITIONS)
        check_choice(self, "norm", self.norm, NORMS)
        self._check_heads()
        self._check_rotary_scaling()
        self._check_loss()

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

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

    def _check_heads(self) -> None:
        if self.num_heads % self.kv_heads:
            raise InputError(
                f"DecoderConfig.num_kv_heads = {self.kv_heads}: give a divisor of num_heads ="
                f" {self.num_heads}"
            )
        if self.positions == "rotary" and self.head_dim % 2:
            raise InputError(
                f"DecoderConfig.head_dim = {self.head_dim}: rotary positions need an even number"
            )

    def _check_rotary_scaling(self) -> None:
        if self.rotary_scaling is None:
            return
        object.__setattr__(self, "rotary_scaling", tuple(self.rotary_scaling))
        fits = len(self.rotary_scaling) == 4 and all(value > 0 for value in self.rotary_scaling)
        if (
            self.positions != "rotary"
            or not fits
            or self.rotary_scaling[1] >= self.rotary_scaling[2]
        ):
            raise InputError(
                f"DecoderConfig.rotary_scaling = {self.rotary_scaling}: give factor, low and high"
                " frequency factors and first positions, as (8.0, 1.0, 4.0, 8192), to a model with"
                " rotary positions"
            )

    def _check_loss(self) -> None:
        if not 0 <= self.bos_id < self.vocab_size:
            raise InputError(f"DecoderConfig.bos_id = {self.bos_id}: give an id of the vocabulary")
        if not self.prompt_loss_weight >= 0.0:
            raise InputError(
                f"DecoderConfig.prompt_loss_weight = {self.prompt_loss_weight}: give 0 or more"
            )
        if self.prefix_lm and self.prompt_loss_weight:
            raise InputError(
                "DecoderConfig.prompt_loss_weight: a prefix-LM sees its whole prompt, so there is"
                " nothing to predict in it; set it to 0 or prefix_lm to False"
            )
