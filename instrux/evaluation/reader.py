"""A model that reads text: scores answer choices, or writes an answer."""

import collections
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
import numpy as np

from instrux.data.vocabularies import Vocabulary
from instrux.errors import InputError
from instrux.evaluation.batches import InputsBatch, RankedBatch, inputs_batches, ranked_batches
from instrux.evaluation.packed_choices import PackedChoicesBatch, packed_choices_batches
from instrux.models import adapters, decoding, scoring
from instrux.models.decoder_only import DecoderOnly
from instrux.models.decoding_settings import DecodingSettings
from instrux.models.families import Model
from instrux.models.several_processes import fetched
from instrux.models.t5 import T5

PARAMETERS_WORTH_MORE_SHAPES = 20_000_000
"""From so many parameters on, the positions that finer lengths spare cost more than compiling."""
_PACKED_LENGTH_STEPS = 4  # shorter inputs fill what a coarser length leaves
_IN_FLIGHT = 2  # batches that the device works on while this process prepares the next
_Batch = TypeVar("_Batch", InputsBatch, RankedBatch, PackedChoicesBatch)
OnDone = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class ReadingSettings:
    """How text becomes arrays, and scores become a ranking.

    Attributes:
        inputs_length: longer inputs are cut here, in tokens.
        targets_length: longer choices are cut here, in tokens, end of sequence included.
        max_decode_length: longest answer that is generated, in tokens; `targets_length` where
            None.
        batch_size: examples a batch.
        inputs_eos: whether inputs end with the end-of-sequence id (T0: they do not).
        normalize_lengths: whether a choice's score is divided by its tokens (T0: it is not).
        decoding: how answers are generated; greedily by default.
        stop: an answer ends before the first of these characters, or None. InstructGPT cuts the
            answers to its automatic sets at the first newline (arXiv 2203.02155, appendix D). A
            token that holds all of it ends the decoding too, beam search apart.
        score_end: whether the end of sequence counts in a choice's score (T0: it does).
    """

    inputs_length: int = 512
    targets_length: int = 128
    max_decode_length: int | None = None
    batch_size: int = 32
    inputs_eos: bool = False
    normalize_lengths: bool = False
    decoding: DecodingSettings = field(default_factory=DecodingSettings)
    stop: str | None = None
    score_end: bool = True

    def __post_init__(self) -> None:
        for name in ("inputs_length", "targets_length", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"evaluation: {name} is {getattr(self, name)}; give 1 or more")
        if self.stop == "":
            raise InputError("evaluation: stop is empty; give characters, or None")
        if self.decode_length < 1:
            raise InputError(
                f"evaluation: max_decode_length is {self.decode_length}; give 1 or more"
            )

    @property
    def decode_length(self) -> int:
        """The longest answer that is generated, in tokens."""
        return self.targets_length if self.max_decode_length is None else self.max_decode_length


@dataclass(frozen=True)
class Generated:
    """What a model wrote to one input: `decoding.num_decodes` answers, the best first.

    Attributes:
        texts: the answers, cut at `stop` and stripped.
        scores: of each, see `decoding.Decoded`; 0 where they were not asked for.
        tokens: the ids of each, up to and with the end of sequence, or a token that holds `stop`.
        token_scores: of each its tokens' log-probabilities in nats; empty where they were not
            asked for.
    """

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    tokens: tuple[tuple[int, ...], ...]
    token_scores: tuple[tuple[float, ...], ...]


class Reader:
    """A model with its vocabulary, ready to rank and to generate.

    Attributes:
        settings: how it reads.
        positions: positions of inputs and choices computed so far, batches' empty rows included.
        tokens: how many of them held a token and not padding.
    """

    positions = 0
    tokens = 0

    def __init__(
        self,
        model: Model,
        params: Any,
        vocabulary: Vocabulary,
        settings: ReadingSettings,
        *,
        place: Callable[[np.ndarray], Any] = lambda array: array,
    ) -> None:
        """Compiles nothing yet: that happens at the first batch of each shape.

        Args:
            model: the model.
            params: its parameters.
            vocabulary: the one it was trained with.
            settings: how it reads.
            place: puts a batch's array on the devices, where there are several.
        """
        self.settings = settings
        self._params = params
        self._vocabulary = vocabulary
        self._place = place
        self._model = model
        self._prompt = adapters.prompt_ids(model.config)
        parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
        self._length_steps = 8 if parameters >= PARAMETERS_WORTH_MORE_SHAPES else 2
        # A decoder reads an empty prompt as its `bos_id` alone; an encoder must have a token.
        self._empty = 0 if isinstance(model, DecoderOnly) else vocabulary.eos_id

    def tokenize_inputs(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of inputs, not yet cut at `inputs_length`."""
        ids = self._vocabulary.encode_batch(list(texts))
        end = [self._vocabulary.eos_id] if self.settings.inputs_eos else []
        return [[*tokens, *end] for tokens in ids]

    def rank(
        self,
        inputs: Sequence[Sequence[int]],
        choices: Sequence[Sequence[str]],
        *,
        whole_texts: bool = False,
        on_done: OnDone = lambda count: None,
    ) -> list[np.ndarray]:
        """Scores every choice of every example; each input is encoded once.

        Args:
            inputs: token ids of the inputs.
            choices: the texts to choose among, of each.
            whole_texts: whether scores are sums without the end of sequence, whatever the
                settings: the log-probabilities of the texts themselves.
            on_done: told how many examples each finished batch held.

        Returns:
            For each example a float32 array [choices]: the sum of the log-probabilities of the
            choice's tokens and of the end of sequence, in nats, or their mean under
            `normalize_lengths`.
        """
        tokens = self._tokenize_choices(choices, end=self.settings.score_end and not whole_texts)
        ranked = self._ranked_rows if isinstance(self._model, DecoderOnly) else self._ranked_packed
        scores = ranked(self._cut(inputs), tokens, on_done)
        if self.settings.normalize_lengths and not whole_texts:
            return [
                rows / np.asarray([len(ids) for ids in group], np.float32)
                for rows, group in zip(scores, tokens, strict=True)
            ]
        return scores

    def _ranked_packed(
        self, inputs: list[list[int]], choices: list[list[list[int]]], on_done: OnDone
    ) -> list[np.ndarray]:
        """Scores of choices that share rows. Choices of the same tokens get the same score."""
        different = [list(dict.fromkeys(map(tuple, group))) for group in choices]
        found: list[dict[tuple[int, ...], float]] = [{} for _ in inputs]
        batches = packed_choices_batches(
            inputs,
            different,
            batch_size=self.settings.batch_size,
            inputs_length=self.settings.inputs_length + len(self._prompt),
            eos_id=self._empty,
            length_steps=min(self._length_steps, _PACKED_LENGTH_STEPS),
        )
        on_done(sum(not group for group in choices))
        for batch, token_scores in self._pipelined(batches, self._score_packed):
            for place in batch.places:
                score = token_scores[place.row, place.start : place.stop].sum()
                found[place.example][different[place.example][place.choice]] = score
            on_done(len(batch.examples))
        return [
            np.asarray([own[tuple(choice)] for choice in group], np.float32)
            for own, group in zip(found, choices, strict=True)
        ]

    def _score_packed(self, batch: PackedChoicesBatch) -> jax.Array:
        assert isinstance(self._model, T5)
        segments = scoring.ChoiceSegments(
            *map(self._place, (batch.input_segments, batch.choice_segments, batch.choice_owners))
        )
        return scoring.score_packed_choices(
            self._model,
            self._params,
            self._place(batch.inputs),
            self._place(batch.choices),
            batch.owners,
            segments,
        )

    def _ranked_rows(
        self, inputs: list[list[int]], choices: list[list[list[int]]], on_done: OnDone
    ) -> list[np.ndarray]:
        """Scores of choices that have a row each, as a language model reads them."""
        scores: list[np.ndarray] = [np.zeros(0, np.float32)] * len(inputs)
        batches = ranked_batches(
            inputs,
            choices,
            batch_size=self.settings.batch_size,
            inputs_length=self.settings.inputs_length + len(self._prompt),
            choice_length=self.settings.targets_length,
            eos_id=self._empty,
            length_steps=self._length_steps,
        )
        for batch, found in self._pipelined(
            batches,
            lambda batch: scoring.score_choices(
                self._model,
                self._params,
                self._place(batch.inputs),
                self._place(batch.choices),
                batch.owners,
            ),
        ):
            ends = np.cumsum(batch.choice_counts)
            for example, rows in zip(batch.examples, np.split(found, ends)[:-1], strict=True):
                scores[example] = rows
            on_done(len(batch.examples))
        return scores

    def generate(
        self,
        inputs: Sequence[Sequence[int]],
        *,
        prefixes: Sequence[str] | None = None,
        scored: bool = False,
        on_done: OnDone = lambda count: None,
    ) -> list[Generated]:
        """Writes answers to each input, as `settings.decoding` says.

        Args:
            inputs: token ids of the inputs. What is drawn for one is a function of the seed and
                its place here.
            prefixes: what each answer begins with, given back as part of it; empty for nothing.
            scored: whether tokens' log-probabilities are asked for.
            on_done: told how many examples each finished batch held.

        Raises:
            InputError: a prefix leaves no room for an answer.
        """
        made: list[Generated | None] = [None] * len(inputs)
        given = self._tokenize_prefixes(prefixes) if prefixes and any(prefixes) else None
        batches = inputs_batches(
            self._cut(inputs),
            batch_size=self.settings.batch_size,
            inputs_length=self.settings.inputs_length + len(self._prompt),
            eos_id=self._empty,
            length_steps=self._length_steps,
        )
        for batch, found in self._pipelined(
            batches, lambda batch: self._decode(batch, given, scored=scored)
        ):
            tokens, scores, token_scores = found
            for row, example in enumerate(batch.examples):
                made[example] = self._generated(tokens[row], scores[row], token_scores[row])
            on_done(len(batch.examples))
        return [one for one in made if one is not None]

    def _decode(
        self, batch: InputsBatch, given: list[list[int]] | None, *, scored: bool
    ) -> decoding.Decoded:
        rows = batch.inputs.shape[0]
        ids = np.zeros(rows, np.int32)
        ids[: len(batch.examples)] = batch.examples
        prefix = None
        if given is not None:
            prefix = np.zeros((rows, self.settings.decode_length), np.int32)
            for row, example in enumerate(batch.examples):
                prefix[row, : len(given[example])] = given[example]
            prefix = self._place(prefix)
        return decoding.decode(
            self._model,
            self._params,
            self._place(batch.inputs),
            self.settings.decoding,
            max_decode_length=self.settings.decode_length,
            eos_id=self._vocabulary.eos_id,
            target_prefix=prefix,
            draw_ids=self._place(ids),
            stops=self._stops,
            scored=scored,
        )

    @functools.cached_property
    def _stops(self) -> np.ndarray | None:
        """Bool [vocab]: the tokens that hold all of `stop`; None where none does.

        A `stop` that two tokens make together is cut out of the text alone.
        """
        stop = self.settings.stop
        if stop is None:
            return None
        size = self._model.config.vocab_size
        known = min(size, self._vocabulary.vocab_size)
        held = np.zeros(size, bool)
        held[:known] = [stop in self._vocabulary.decode([token]) for token in range(known)]
        return held if held.any() else None

    def _generated(
        self, tokens: np.ndarray, scores: np.ndarray, token_scores: np.ndarray
    ) -> Generated:
        ids = [row[: np.count_nonzero(row)].tolist() for row in tokens]
        return Generated(
            texts=tuple(self._until_stop(self._vocabulary.decode(row)).strip() for row in ids),
            scores=tuple(scores.tolist()),
            tokens=tuple(map(tuple, ids)),
            token_scores=tuple(
                tuple(row[: len(own)].tolist()) for row, own in zip(token_scores, ids, strict=True)
            ),
        )

    def _until_stop(self, text: str) -> str:
        return text if self.settings.stop is None else text.partition(self.settings.stop)[0]

    def _tokenize_prefixes(self, prefixes: Sequence[str]) -> list[list[int]]:
        given = [list(ids) for ids in self._vocabulary.encode_batch(list(prefixes))]
        longest = max(map(len, given))
        if longest >= self.settings.decode_length:
            raise InputError(
                f"evaluation: an answer's prefix has {longest} tokens, and max_decode_length is"
                f" {self.settings.decode_length}; raise it."
            )
        return given

    def _cut(self, inputs: Sequence[Sequence[int]]) -> list[list[int]]:
        """Inputs of at most `inputs_length`, behind the soft prompt where the model has one."""
        return [[*self._prompt, *ids[: self.settings.inputs_length]] for ids in inputs]

    def _tokenize_choices(
        self, choices: Sequence[Sequence[str]], *, end: bool
    ) -> list[list[list[int]]]:
        """Token ids, each different text tokenised once; a choice without any has the end alone."""
        different = list(dict.fromkeys(text for group in choices for text in group))
        ending = [self._vocabulary.eos_id]
        room = self.settings.targets_length - end
        ids = {
            text: [*tokens[:room], *ending] if end else list(tokens[:room]) or ending
            for text, tokens in zip(
                different, self._vocabulary.encode_batch(different), strict=True
            )
        }
        return [[ids[text] for text in group] for group in choices]

    def _count(self, batch: InputsBatch | PackedChoicesBatch) -> None:
        self.positions += batch.inputs.size
        if isinstance(batch, PackedChoicesBatch):
            self.positions += batch.choices.size
            self.tokens += int(np.count_nonzero(batch.inputs) + np.count_nonzero(batch.choices))
            return
        # Rows behind the examples hold one token each so that they are not all padding.
        self.tokens += int(np.count_nonzero(batch.inputs[: len(batch.examples)]))
        if isinstance(batch, RankedBatch):
            self.positions += batch.choices.size
            self.tokens += int(np.count_nonzero(batch.choices))

    def _pipelined(
        self, batches: Iterable[_Batch], call: Callable[[_Batch], Any]
    ) -> Iterator[tuple[_Batch, Any]]:
        """Keeps the device busy: gives a batch's result after the next one is under way."""
        waiting: collections.deque[tuple[_Batch, Any]] = collections.deque()
        for batch in batches:
            self._count(batch)
            waiting.append((batch, call(batch)))
            if len(waiting) > _IN_FLIGHT:
                first, result = waiting.popleft()
                yield first, jax.tree.map(fetched, result)
        while waiting:
            first, result = waiting.popleft()
            yield first, jax.tree.map(fetched, result)
