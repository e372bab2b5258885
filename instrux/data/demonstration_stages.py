"""The stages that prepare demonstrations, each a pure function of demonstrations and a seed.

As InstructGPT prepared its prompts (arXiv 2203.02155, section 3.2 and appendix A): near-duplicates
by a long common prefix, at most 200 prompts a user, splits by user, personal data out of the training
split alone, few-shot prompts expanded. What the paper leaves open is a setting.
"""

import dataclasses
import heapq
import random
import re
import unicodedata
from collections.abc import Iterable, Sequence

from instrux.data.demonstrations import SPLITS, Demonstration, Shot
from instrux.data.personal_data import Finder, Removed, remove
from instrux.data.sampling import stable_key
from instrux.errors import InputError

# Reasons for which a demonstration is left out.
NEAR_DUPLICATE = "near_duplicate"
OVER_USER_LIMIT = "over_user_limit"
OTHER_LANGUAGE = "other_language"
TOO_FEW_SHOTS = "too_few_shots"
USER_IN_OTHER_SPLIT = "user_in_other_split"
TOO_LONG_PROMPT = "too_long_prompt"
TOO_LONG_COMPLETION = "too_long_completion"
TOO_LONG_TOGETHER = "too_long_together"

_WORD = re.compile(r"\w+|[^\w\s]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def normalised(demonstration: Demonstration) -> Demonstration:
    """The same text in Unicode's composed form, with plain line ends.

    A prompt keeps the blanks around it, as it was submitted with them; what is written in answer
    loses them.
    """
    return dataclasses.replace(
        demonstration,
        prompt=normalised_text(demonstration.prompt),
        completion=normalised_text(demonstration.completion).strip(),
        shots=tuple(
            Shot(normalised_text(shot.query).strip(), normalised_text(shot.response).strip())
            for shot in demonstration.shots
        ),
    )


def normalised_text(text: str) -> str:
    """See `normalised`; applying it twice changes nothing."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROL.sub("", text).encode(errors="replace").decode()
    return unicodedata.normalize("NFC", text)


# --- Near-duplicates -----------------------------------------------------------------------------


def prefix_key(demonstration: Demonstration, tokens: int) -> str:
    """What near-duplicates have in common: the first words and marks of the prompt, case apart.

    A shorter prompt has all of it, and an end, in common with its like.

    Args:
        demonstration: whose prompt; of a few-shot prompt that is yet to be expanded the shots
            count too.
        tokens: how many words and punctuation marks.
    """
    shots = (f"{shot.query}\n{shot.response}" for shot in demonstration.shots)
    text = "\n".join([demonstration.prompt, *shots]).casefold()
    found = []
    for match in _WORD.finditer(text):
        if len(found) == tokens:
            return " ".join(found)
        found.append(match[0])
    return " ".join([*found, "<end>"])


def order_key(demonstration: Demonstration, seed: int) -> tuple[int, str]:
    """Places demonstrations in an order that their ids and the seed alone decide."""
    return stable_key("demonstration", seed, demonstration.id), demonstration.id


def deduplicated(
    group: Iterable[Demonstration], seed: int
) -> tuple[Demonstration, list[Demonstration]]:
    """Of near-duplicates the one that stays, whatever order they come in, and the others."""
    first, *others = sorted(group, key=lambda each: order_key(each, seed))
    return first, others


# --- Users and splits ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class SplitShares:
    """What share of the users each held-out split gets; training has the rest.

    Attributes:
        validation: from 0 to 1.
        test: from 0 to 1.
    """

    validation: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        if min(self.validation, self.test) < 0 or self.validation + self.test >= 1:
            raise InputError(
                f"shares of validation {self.validation} and test {self.test}: each is 0 or more, "
                "and together they leave something for training."
            )

    def split_of(self, unit: str, seed: int) -> str:
        """The split of a user: a function of its name and the seed."""
        place = stable_key("split", seed, unit) / 2**64
        if place < self.validation:
            return "validation"
        return "test" if place < self.validation + self.test else "train"


def of_one_user(
    group: Sequence[Demonstration],
    *,
    shares: SplitShares,
    limit: int,
    seed: int,
    declared_splits: bool,
) -> tuple[list[Demonstration], list[tuple[Demonstration, str]]]:
    """Gives all that a user wrote one split, and at most so much of it.

    Args:
        group: a user's demonstrations, in any order.
        shares: how users are split.
        limit: prompts a user.
        seed: of what stays.
        declared_splits: whether a split that a demonstration brings counts. Where a user's
            are several, those of the most held-out one stay and the others go.

    Returns:
        What stays, with its split, and what does not, with the reason.
    """
    said = {each.split for each in group if each.split} if declared_splits else set()
    split = next((split for split in reversed(SPLITS) if split in said), None)
    if split is None:
        split = shares.split_of(group[0].unit, seed)
    dropped, fitting = [], []
    for each in group:
        if declared_splits and each.split not in (None, split):
            dropped.append((each, USER_IN_OTHER_SPLIT))
        else:
            fitting.append(each)
    kept = heapq.nsmallest(limit, fitting, key=lambda each: order_key(each, seed))
    names = {each.id for each in kept}
    dropped += [(each, OVER_USER_LIMIT) for each in fitting if each.id not in names]
    return [dataclasses.replace(each, split=split) for each in kept], dropped


# --- Personal data -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Audited:
    """What was removed from one field of a demonstration."""

    field: str
    removed: Removed


def without_personal_data(
    demonstration: Demonstration, finder: Finder
) -> tuple[Demonstration, list[Audited]]:
    """Takes personal data out of a demonstration of the training split; others stay as they are."""
    if demonstration.split != "train":
        return demonstration, []
    audit: list[Audited] = []

    def clean(field: str, text: str) -> str:
        cleaned, removed = remove(text, finder.find(text, demonstration.language))
        audit.extend(Audited(field, each) for each in removed)
        return cleaned

    return (
        dataclasses.replace(
            demonstration,
            prompt=clean("prompt", demonstration.prompt),
            completion=clean("completion", demonstration.completion),
            shots=tuple(
                Shot(clean(f"shots/{i}/query", s.query), clean(f"shots/{i}/response", s.response))
                for i, s in enumerate(demonstration.shots)
            ),
        ),
        audit,
    )


# --- Few-shot prompts ----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class FewShotForm:
    """How few-shot prompts are made of an instruction and its pairs.

    Attributes:
        expansions: prompts made of one instruction at most.
        max_shots: pairs shown before the query at most.
        query: what stands before a query.
        response: what stands before a response.
    """

    expansions: int = 8
    max_shots: int = 5
    query: str = "Input: "
    response: str = "Output:"

    def __post_init__(self) -> None:
        if self.expansions < 1 or self.max_shots < 1:
            raise InputError("few-shot prompts: expansions and max_shots are 1 or more.")

    def prompt(self, instruction: str, shots: Sequence[Shot], query: str) -> str:
        """The instruction, the pairs, and the query."""
        shown = [f"{self.query}{s.query}\n{self.response} {s.response}" for s in shots]
        return "\n\n".join([instruction, *shown, f"{self.query}{query}\n{self.response}"])


def expanded(demonstration: Demonstration, form: FewShotForm, seed: int) -> list[Demonstration]:
    """Makes several prompts of one instruction by drawing different pairs as shots.

    Every pair is the query once before one is the query twice; a query is never among its own
    shots, and no two prompts are the same. What has no pairs is given back as it is; with less
    than two different queries there is nothing to show, and nothing is given.
    """
    if not demonstration.shots:
        return [demonstration]
    pairs = list({shot.query: shot for shot in demonstration.shots}.values())
    if len(pairs) < 2:
        return []
    rng = random.Random(stable_key("shots", seed, demonstration.id))
    rng.shuffle(pairs)
    made: dict[str, Demonstration] = {}
    for attempt in range(2 * form.expansions + len(pairs)):
        asked = pairs[attempt % len(pairs)]
        others = [pair for pair in pairs if pair is not asked]
        shots = rng.sample(others, min(form.max_shots, len(others)))
        prompt = form.prompt(demonstration.prompt, shots, asked.query)
        if prompt not in made:
            made[prompt] = dataclasses.replace(
                demonstration,
                id=f"{demonstration.id}/{len(made)}",
                prompt=prompt,
                completion=asked.response,
                shots=(),
            )
        if len(made) == form.expansions:
            break
    return list(made.values())


# --- Lengths -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class LengthLimits:
    """The longest that stays, in tokens; nothing is cut.

    The paper names 1,000 for either (appendix C), while its table 9 has prompts of 2,048.

    Attributes:
        prompt: tokens of the prompt, or None for any number.
        completion: tokens of the completion with the end of text, or None.
        together: tokens of both, or None.
    """

    prompt: int | None = None
    completion: int | None = None
    together: int | None = 2048

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is not None and value < 1:
                raise InputError(f"length limit of {name} is {value}; give 1 or more.")

    def reason(self, prompt: int, completion: int) -> str:
        """Why a demonstration of these lengths is left out; "" if it stays."""
        if self.prompt is not None and prompt > self.prompt:
            return TOO_LONG_PROMPT
        if self.completion is not None and completion + 1 > self.completion:
            return TOO_LONG_COMPLETION
        if self.together is not None and prompt + completion + 1 > self.together:
            return TOO_LONG_TOGETHER
        return ""
