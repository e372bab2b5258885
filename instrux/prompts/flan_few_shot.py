"""Few-shot prompts as FLAN makes them: exemplars packed before a query up to a token budget.

Two ways are there. FLAN (arXiv 2109.01652) puts k exemplars of whatever template before a query, in
its dialogue format, and keeps as many from the front as fit. The Flan Collection of 2022 does so
with other separators, or draws 25, keeps those with the query's template, and drops the query if
none is left.

Exemplars come from a pool that no query is taken from. The released code draws them from the same
rows as the queries, so that a query may be its own exemplar; `released_exemplars` does that.
"""

import dataclasses
import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from instrux.errors import InputError
from instrux.prompts.flan import NO_WRAPPER, FlanText, Wrapper
from instrux.prompts.randomness import seeded_rng

SHOTS = {"one": 1, "two": 2, "three": 3, "five": 5, "ten": 10, "multi": 16}
"""Exemplars by the suffix of a task's name (`X_ten_shot`); `multi` is the paper's at most 16."""
BUDGET_2021 = 960
"""Tokens of exemplars and query: 1,024 of inputs less 64 for separators."""
BUDGET_2022 = 1920
DRAWN_FOR_ONE_TEMPLATE = 25
_POOL_STEPS = 1 << 32


@dataclass(frozen=True)
class FewShotLayout:
    """What stands before, between and after exemplars.

    Attributes:
        inputs_prefix: before each input.
        targets_prefix: before each target; without its trailing space also at the query's end.
        delimiter: between an input and its target.
        separator: between an exemplar and the next.
        final_suffix: at the very end.
        wrapper: around the whole prompt, the suffix not included.
        strip: `both` takes all white space from both ends before the suffix, `spaces` only trailing
            spaces.
    """

    inputs_prefix: str = ""
    targets_prefix: str = ""
    delimiter: str = "\n\n"
    separator: str = "\n\n\n"
    final_suffix: str = ""
    wrapper: Wrapper = NO_WRAPPER
    strip: Literal["both", "spaces"] = "spaces"

    def shot(self, inputs: str, targets: str) -> str:
        """Writes one exemplar, its separator included."""
        asked = f"{self.inputs_prefix}{inputs}{self.delimiter}"
        return f"{asked}{self.targets_prefix}{targets}{self.separator}"

    def assemble(self, exemplars: Iterable[tuple[str, str]], query: str) -> str:
        """Writes the whole prompt.

        Args:
            exemplars: inputs and targets, in order.
            query: the inputs that are to be answered.
        """
        shots = "".join(self.shot(inputs, targets) for inputs, targets in exemplars)
        asked = f"{self.inputs_prefix}{query}{self.delimiter}{self.targets_prefix.rstrip()}"
        text = shots + asked
        text = text.strip() if self.strip == "both" else text.rstrip(" ")
        return self.wrapper.around(text) + self.final_suffix


LAYOUT_2021 = FewShotLayout("0 ", "1 ", " X ", " X ", " FLAN", strip="both")
"""`0 <in1> X 1 <out1> X 0 <query> X 1 FLAN`"""
LAYOUT_CONTINUATIONS = FewShotLayout(delimiter=" ", separator="\n\n", strip="both")
"""For a model that was not tuned: no markers, a space before each target."""
LAYOUTS_2022 = (
    FewShotLayout(),
    FewShotLayout("Q: ", "A: ", "\n", "\n\n"),
    FewShotLayout("Question: ", "Answer: ", "\n", "\n\n\n"),
    FewShotLayout("Input: ", "Output: ", "\n", "\n\n"),
    FewShotLayout("", "Answer: ", "\n\n", "\n\n---\n\n"),
    FewShotLayout("Problem: ", "Solution: ", "\n", "\n\n"),
    FewShotLayout("[", "", "] -> ", "\n"),
    FewShotLayout("Exercise. ", "Reply: ", "\n", "\n\n\n"),
    FewShotLayout("User: ", "Assistant: ", "\n", "\n"),
    FewShotLayout("<< ", ">> ", "\n", "\n\n"),
)
"""Layouts in the manner of the Flan Collection, one for each template."""


def draw_layout(query_id: str, *, seed: int) -> FewShotLayout:
    """Draws a layout of 2022 for a query, from seed and id alone.

    The released code picks a separator when a module is imported, so that two hosts may differ.
    """
    rng = seeded_rng(seed, query_id, "flan-few-shot-layout")
    return LAYOUTS_2022[rng.randrange(len(LAYOUTS_2022))]


def exemplars_that_fit(exemplar_tokens: Sequence[int], *, query_tokens: int, budget: int) -> int:
    """Says how many exemplars stay, counted from the front.

    Args:
        exemplar_tokens: tokens of inputs and targets of each exemplar.
        query_tokens: tokens of the query's inputs.
        budget: tokens of all of them.
    """
    left = budget - query_tokens
    for count, tokens in enumerate(exemplar_tokens):
        left -= tokens
        if left < 0:
            return count
    return len(exemplar_tokens)


def in_pool(example_id: str, *, share: float = 0.1, seed: int = 0) -> bool:
    """Says whether a row is kept as an exemplar and never asked as a query.

    Args:
        example_id: `dataset/config/split/row`.
        share: share of rows that go to the pool, between 0 and 1.
        seed: other seeds give other pools.

    Raises:
        InputError: the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise InputError(f"share={share}: give a share of rows between 0 and 1")
    name = f"{seed}:flan-pool:{example_id}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(name, digest_size=4).digest()
    return int.from_bytes(digest, "big") < share * _POOL_STEPS


def draw_exemplars(
    pool: Sequence[FlanText], query_id: str, shots: int, *, seed: int = 0
) -> list[FlanText]:
    """Draws exemplars for a query, without repeats; the query itself is never among them.

    Depends on seed, query and the pool in its order, on nothing else.

    Raises:
        InputError: the pool has too few.
    """
    others = [index for index, each in enumerate(pool) if each.example_id != query_id]
    if shots > len(others):
        raise InputError(
            f"{query_id}: {shots} exemplars are asked for and the pool has {len(others)};"
            " raise the pool's share"
        )
    rng = seeded_rng(seed, query_id, "flan-exemplars")
    return [pool[others[place]] for place in rng.sample(range(len(others)), shots)]


def released_exemplars(
    rows: Sequence[FlanText], position: int, shots: int, *, seed: int = 0
) -> list[FlanText]:
    """Gives the exemplars of query number `position` in the manner of the released code.

    All training rows are shuffled once, taken `shots` at a time and paired with the queries in their
    order; what is left over at the end is not used, and nothing keeps a query from meeting itself.
    (The order of shuffling is ours: tf.data's cannot be had without it.)

    Raises:
        InputError: there are fewer rows than shots.
    """
    groups = len(rows) // shots
    if groups == 0:
        raise InputError(f"{shots} exemplars are asked for and there are {len(rows)} rows")
    order = list(range(len(rows)))
    random.Random(f"{seed}:flan-released-exemplars").shuffle(order)
    start = (position % groups) * shots
    return [rows[index] for index in order[start : start + shots]]


@dataclass(frozen=True)
class FewShotForm:
    """How a query and its exemplars become one prompt.

    Attributes:
        layout: what stands around them.
        budget: tokens of exemplars and query together; None for no limit.
        one_template: whether exemplars of another template than the query's are left out.
        drop_without_exemplars: what to do with a query for which no exemplar is left: leave it out,
            as in 2022, or ask it without, as in 2021.
    """

    layout: FewShotLayout = LAYOUT_2021
    budget: int | None = BUDGET_2021
    one_template: bool = False
    drop_without_exemplars: bool = False

    def prompt(
        self,
        query: FlanText,
        exemplars: Sequence[FlanText],
        count_tokens: Callable[[str], int],
    ) -> FlanText | None:
        """Puts exemplars before a query; None where the query is left out.

        Query and exemplars must be rendered without a wrapper: the layout has it.

        Args:
            query: what is asked; its answer choices and references stay.
            exemplars: in the order in which they would stand.
            count_tokens: the length of a text in tokens.
        """
        shown = list(exemplars)
        if self.one_template:
            shown = [each for each in shown if each.template_index == query.template_index]
        if self.budget is not None:
            shown = shown[: self._fitting(query, shown, count_tokens)]
        if not shown and self.drop_without_exemplars:
            return None
        pairs = [(each.inputs, each.targets) for each in shown]
        kind = "fs" + query.template_type.removeprefix("zs").removeprefix("fs")
        return dataclasses.replace(
            query, inputs=self.layout.assemble(pairs, query.inputs), template_type=kind
        )

    def _fitting(
        self,
        query: FlanText,
        exemplars: Sequence[FlanText],
        count_tokens: Callable[[str], int],
    ) -> int:
        assert self.budget is not None
        delimiter = self.layout.delimiter  # counted with the inputs, as the released code does
        lengths = [
            count_tokens(each.inputs + delimiter) + count_tokens(each.targets) for each in exemplars
        ]
        query_tokens = count_tokens(query.inputs + delimiter)
        return exemplars_that_fit(lengths, query_tokens=query_tokens, budget=self.budget)


MULTI_SHOT_2021 = FewShotForm()
MIXED_TEMPLATES_2022 = FewShotForm(FewShotLayout(), BUDGET_2022, drop_without_exemplars=True)
ONE_TEMPLATE_2022 = FewShotForm(
    FewShotLayout(), BUDGET_2022, one_template=True, drop_without_exemplars=True
)
"""For this form `DRAWN_FOR_ONE_TEMPLATE` exemplars are drawn, of which 2.5 are left on average."""
