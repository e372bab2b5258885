"""Runs that train adapters alone: where their base lies, and what they begin with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from instrux.data.vocabularies import Vocabulary, VocabularySpec
from instrux.errors import InputError
from instrux.models import adapters
from instrux.models.families import ModelConfig, model_of
from instrux.progress import tell
from instrux.training.mesh import abstract_params
from instrux.training.program import Program
from instrux.training.train_step import TrainState


@dataclass(frozen=True)
class PromptInit:
    """How a soft prompt begins (Lester et al., arXiv 2104.08691, section 3.2).

    Attributes:
        kind: `uniform`, between -0.5 and 0.5; `vocabulary`, embeddings of tokens drawn from the
            most common ones; `labels`, for each text of `texts` the mean of its tokens'
            embeddings; `text`, the embeddings of the tokens of `texts`, one after the other. What
            the last two leave over begins as with `vocabulary`.
        texts: the labels, such as `("yes", "no")`, or a text.
        most_common: ids that `vocabulary` draws from; a SentencePiece model has the common first.
    """

    kind: Literal["uniform", "vocabulary", "labels", "text"] = "uniform"
    texts: tuple[str, ...] = ()
    most_common: int = 5000

    def __post_init__(self) -> None:
        kinds = ("uniform", "vocabulary", "labels", "text")
        if self.kind not in kinds:
            raise InputError(f"PromptInit.kind = {self.kind!r}: choose from {', '.join(kinds)}")
        if (self.kind in ("labels", "text")) != bool(self.texts):
            raise InputError(
                f"PromptInit.kind = {self.kind!r} with {len(self.texts)} texts: `labels` and `text`"
                " take texts, the others none"
            )
        if self.most_common < 1:
            raise InputError(f"PromptInit.most_common = {self.most_common}: give 1 or more")


def base_path(model: ModelConfig, initial_checkpoint_path: str | None) -> str | None:
    """Where the base of a model with adapters lies; None for a model without.

    Raises:
        InputError: a model with adapters has no base.
    """
    if not adapters.has_adapters(model):
        return None
    adapters.check_targets(model, model_of(model).logical_axes())
    if initial_checkpoint_path is None:
        raise InputError(
            "train: a soft prompt or low-rank factors are trained beside a frozen model; name its"
            " checkpoint in INITIAL_CHECKPOINT_PATH."
        )
    return str(Path(initial_checkpoint_path).absolute())


def trained_axes(model: ModelConfig) -> dict[str, Any]:
    """Logical axes of the parameters of a run's state: the adapters, where a model has them."""
    axes = model_of(model).logical_axes()
    return adapters.adapter_params(axes) if adapters.has_adapters(model) else axes


def abstract_base(model: ModelConfig, mesh: Mesh) -> dict[str, Any]:
    """Shapes and shardings of the base's parameters."""
    return abstract_params(model_of(adapters.without_adapters(model)), mesh)


@dataclass(frozen=True)
class FirstAdapters:
    """What a run's adapters begin with.

    Attributes:
        base: the base's parameters.
        prompt_init: how a soft prompt begins; None for uniformly random.
        vocabulary: the base's.
        seed: of what is drawn.
    """

    base: Any
    prompt_init: PromptInit | None
    vocabulary: VocabularySpec
    seed: int

    def state(self, program: Program) -> TrainState:
        """The state at step 0."""
        state = program.init()
        count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
        tell(f"train: {count:,} parameters of adapters beside a frozen base")
        prompt = state.params.get(adapters.PROMPT)
        init = self.prompt_init
        if prompt is None or init is None or init.kind == "uniform":
            return state
        length = prompt["embedding"].shape[0]
        groups = prompt_tokens(init, self.vocabulary.load(), length, self.seed)
        table = self.base["token_embedder"]["embedding"]
        rows = [jnp.mean(jnp.take(table, np.asarray(ids), axis=0), axis=0) for ids in groups]
        drawn = jax.device_put(jnp.stack(rows), prompt["embedding"].sharding)
        return program.start_from({**state.params, adapters.PROMPT: {"embedding": drawn}})


def prompt_tokens(
    init: PromptInit, vocabulary: Vocabulary, length: int, seed: int
) -> list[list[int]]:
    """For each row of a prompt, the tokens whose embeddings' mean it begins with.

    Raises:
        InputError: the texts have more rows than the prompt, or one has no token.
    """
    groups = [vocabulary.encode(text) for text in init.texts]
    if init.kind == "text":
        groups = [[token] for group in groups for token in group]
    if not all(groups) or len(groups) > length:
        raise InputError(
            f"PromptInit.texts make {len(groups)} rows, and the prompt has {length}; raise"
            " prompt_length, or give fewer and none empty"
        )
    special = {vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id}
    bound = min(init.most_common, vocabulary.vocab_size)
    common = [token for token in range(bound) if token not in special]
    draw = np.random.default_rng(seed)
    drawn = draw.choice(common, length - len(groups), replace=len(common) < length)
    return [*groups, *([int(token)] for token in drawn)]
