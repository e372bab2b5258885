"""Few-shot tasks of FLAN: each query comes after exemplars from rows that are never asked."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from instrux.data.examples import RenderedExample
from instrux.data.flan_task import FlanTask, rendered_example
from instrux.data.prompted_task import NOT_APPLICABLE, Skipped
from instrux.data.sources_base import RowSource
from instrux.data.vocabularies import Vocabulary, VocabularySpec
from instrux.errors import InputError
from instrux.prompts.flan import NO_WRAPPER, FlanText
from instrux.prompts.flan_few_shot import (
    MULTI_SHOT_2021,
    FewShotForm,
    draw_exemplars,
    draw_layout,
    in_pool,
    released_exemplars,
)
from instrux.prompts.flan_prompts import FlanPrompts, FlanPromptsReference

KEPT_AS_EXEMPLAR = "kept_as_exemplar"
NO_EXEMPLAR_FITS = "no_exemplar_fits"


class ExemplarPool(Sequence[FlanText]):
    """Rendered exemplars. In a job's settings it stands as a digest, not as its texts."""

    def __init__(self, texts: Sequence[FlanText]) -> None:
        self._texts = tuple(texts)

    def __getitem__(self, index: Any) -> Any:
        return self._texts[index]

    def __len__(self) -> int:
        return len(self._texts)

    def __str__(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for text in self._texts:
            digest.update(repr(text).encode("utf-8", "surrogatepass"))
        return f"{len(self)} exemplars, {digest.hexdigest()}"


@dataclasses.dataclass(frozen=True)
class FewShotPrompts:
    """What a few-shot task needs besides its rows. Plain data.

    Attributes:
        prompts: the zero-shot prompts of queries and exemplars, without a wrapper.
        shots: exemplars drawn for a query; fewer are shown where they do not fit.
        vocabulary: what the budget is counted in.
        form: budget and layout.
        drawn_layouts: whether each query gets one of the layouts of 2022 in place of the form's.
        exemplars: `apart`, from rows of the training split that are never asked, or `released`,
            from all of its rows.
        pool_split: the source's split that exemplars come from.
        pool_share: share of its rows that are kept as exemplars.
        pool_size: exemplars that are kept in memory.
        seed: of pool, draws and layouts.
        pool: the exemplars, once the task is resolved.
    """

    prompts: FlanPrompts | FlanPromptsReference
    shots: int
    vocabulary: VocabularySpec
    form: FewShotForm = MULTI_SHOT_2021
    drawn_layouts: bool = False
    exemplars: Literal["apart", "released"] = "apart"
    pool_split: str = "train"
    pool_share: float = 0.1
    pool_size: int = 1000
    seed: int = 0
    pool: ExemplarPool | None = None

    def __post_init__(self) -> None:
        if self.shots < 1 or self.pool_size < self.shots:
            raise InputError(
                f"{self.prompts.dataset}: shots={self.shots} and pool_size={self.pool_size};"
                " give at least one shot and as many exemplars in the pool"
            )
        if self.exemplars not in ("apart", "released"):
            raise InputError(f"exemplars={self.exemplars!r}; give 'apart' or 'released'")
        if self.prompts.form.wrapper != NO_WRAPPER:
            raise InputError(
                f"{self.prompts.dataset}: few-shot prompts have their wrapper in the layout;"
                " leave the form's out"
            )

    @property
    def name(self) -> str:
        """The zero-shot prompts' name."""
        return self.prompts.name

    def with_pool(self, source: RowSource) -> "FewShotPrompts":
        """The same with its templates read and its exemplars rendered.

        Raises:
            InputError: the split has too few rows for the pool, or the vocabulary cannot be read.
        """
        if self.form.budget is not None:
            self.vocabulary.load()  # told here, once, and not with every row
        prompts = (
            self.prompts.resolve()
            if isinstance(self.prompts, FlanPromptsReference)
            else self.prompts
        )
        texts: list[FlanText] = []
        for text in self._candidates(source, prompts):
            texts.append(text)
            if len(texts) == self.pool_size:
                break
        if len(texts) <= self.shots and not (
            self.exemplars == "released" and len(texts) == self.shots
        ):
            raise InputError(
                f"{source.label}: the pool of split {self.pool_split!r} has {len(texts)} exemplars"
                f" for {self.shots} shots; raise pool_share"
            )
        return dataclasses.replace(self, prompts=prompts, pool=ExemplarPool(texts))

    def _candidates(self, source: RowSource, prompts: FlanPrompts) -> Iterator[FlanText]:
        for number, row in source.rows(self.pool_split):
            example_id = source.example_id(self.pool_split, number)
            if self.exemplars == "apart" and not self.keeps(example_id):
                continue
            text = prompts.render(row, example_id)
            if text is not None:
                yield text

    def keeps(self, example_id: str) -> bool:
        """Whether a row is kept as an exemplar and not asked."""
        split = example_id.split("/")[-2]
        return (
            self.exemplars == "apart"
            and split == self.pool_split
            and in_pool(example_id, share=self.pool_share, seed=self.seed)
        )

    def exemplars_for(self, example_id: str) -> list[FlanText]:
        """Draws the exemplars of a query; the pool must be there."""
        assert self.pool is not None
        if self.exemplars == "released":
            position = int(example_id.rpartition("/")[2])
            return released_exemplars(self.pool, position, self.shots, seed=self.seed)
        return draw_exemplars(self.pool, example_id, self.shots, seed=self.seed)

    def prompt(self, query: FlanText) -> FlanText | None:
        """Puts exemplars before a query; None where the form leaves it out."""
        form = self.form
        if self.drawn_layouts:
            form = dataclasses.replace(form, layout=draw_layout(query.example_id, seed=self.seed))
        vocabulary = _loaded(self.vocabulary)
        exemplars = self.exemplars_for(query.example_id)
        return form.prompt(query, exemplars, lambda text: len(vocabulary.encode(text)))


@functools.lru_cache(maxsize=8)
def _loaded(vocabulary: VocabularySpec) -> Vocabulary:
    return vocabulary.load()


@dataclasses.dataclass(frozen=True)
class FewShotFlanTask(FlanTask):
    """A FLAN dataset with exemplars before each query; `template` is a `FewShotPrompts`."""

    def resolve(self) -> "FewShotFlanTask":
        """The same task with its templates and exemplars read; reads rows of the source.

        Raises:
            InputError: templates or rows cannot be had, or there are too few rows.
        """
        prompts: Any = self.template
        if prompts.pool is not None:
            return self
        return dataclasses.replace(self, template=prompts.with_pool(self.source))

    def render(self, row: Mapping[str, Any], example_id: str) -> RenderedExample | Skipped:
        """Renders a row after its exemplars; the task must be resolved.

        Rows of the pool are skipped as `kept_as_exemplar`, and queries without an exemplar as
        `no_exemplar_fits` where the form leaves them out.

        Raises:
            InputError: the row is not one of this dataset, or cannot be rendered.
        """
        prompts: Any = self.template
        if prompts.keeps(example_id):
            return Skipped(KEPT_AS_EXEMPLAR)
        query = prompts.prompts.render(row, example_id)
        if query is None:
            return Skipped(NOT_APPLICABLE)
        text = prompts.prompt(query)
        return Skipped(NO_EXEMPLAR_FITS) if text is None else rendered_example(text)
