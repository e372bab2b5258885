"""What `instrux demonstrations` is asked for, as plain data that travels to workers."""

import dataclasses
import re
from typing import Any

from instrux.data.demonstration_formats import LICENCES, DemonstrationInput
from instrux.data.demonstration_stages import FewShotForm, LengthLimits, SplitShares
from instrux.data.personal_data import DEFAULT_KINDS, Finder, PatternFinder
from instrux.data.presidio_finder import MODEL, PresidioFinder
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError, did_you_mean

FORMAT = 1
"""Raised whenever the same settings give other bytes."""

PERSONAL_DATA = ("patterns", "presidio", "keep")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemonstrationSettings:
    """How demonstrations are prepared.

    Attributes:
        inputs: the files.
        name: of the set; its task is `demonstrations_<name>`, its mixture `sft_<name>`.
        vocabulary: what counts tokens.
        limits: the longest that stays.
        shares: how users are split.
        declared_splits: whether a split that a row brings counts.
        prefix_tokens: words and marks that near-duplicates have in common at the start; the
            paper says "long" and no number.
        prompts_a_user: at most (200 in the paper).
        personal_data: `patterns`, `presidio` or `keep`.
        personal_data_kinds: what the patterns look for; for `presidio` names of its entities, all
            but the impersonal ones by default.
        personal_data_model: the spaCy model that `presidio` takes: a package or a folder.
        detect_languages: whether a language that a row does not say is found out (py3langid).
        languages: the ones that stay; all where empty. What has none stays.
        few_shot: how few-shot prompts are expanded.
        separator: stands between prompt and completion; the paper names none.
        seed: of all choices.
        num_shards: files a split, or None to go by the number of rows.
        licence: the tag of its licence, as the hub words them; those of the published sets that the
            inputs' formats are known by where None.
    """

    inputs: tuple[DemonstrationInput, ...]
    name: str
    vocabulary: VocabularySpec
    limits: LengthLimits = dataclasses.field(default_factory=LengthLimits)
    shares: SplitShares = dataclasses.field(default_factory=SplitShares)
    declared_splits: bool = False
    prefix_tokens: int = 64
    prompts_a_user: int = 200
    personal_data: str = "patterns"
    personal_data_kinds: tuple[str, ...] = DEFAULT_KINDS
    personal_data_model: str = MODEL
    detect_languages: bool = False
    languages: tuple[str, ...] = ()
    few_shot: FewShotForm = dataclasses.field(default_factory=FewShotForm)
    separator: str = ""
    seed: int = 0
    num_shards: int | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"name {self.name!r} of demonstrations: use letters, digits, dots and underscores."
            )
        if not self.inputs:
            raise InputError("demonstrations: no input; give at least one FORMAT=PATH.")
        if self.licence is not None and not _TAG.fullmatch(self.licence):
            raise InputError(
                f"licence {self.licence!r} of demonstrations: give a tag such as cc-by-4.0 or other."
            )
        if self.personal_data not in PERSONAL_DATA:
            raise InputError(
                f"personal_data is {self.personal_data!r}; choose from {', '.join(PERSONAL_DATA)}."
                f"{did_you_mean(self.personal_data, PERSONAL_DATA)}"
            )
        if self.personal_data != "presidio":
            PatternFinder(self.personal_data_kinds)
        for field in ("prefix_tokens", "prompts_a_user", "num_shards"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise InputError(f"demonstrations: {field} is {value}; give 1 or more.")

    @property
    def task(self) -> str:
        """The task's name, and its folder's under `rendered/`."""
        return f"demonstrations_{self.name}"

    @property
    def licences(self) -> str:
        """The licence's tag; several, or `unknown` among them, where the inputs have several."""
        if self.licence is not None:
            return self.licence
        return ", ".join(sorted({LICENCES.get(given.format, "unknown") for given in self.inputs}))

    def identity(self, fingerprints: tuple[str, ...]) -> dict[str, Any]:
        """Gives what the bytes depend on; files and vocabulary count by their content."""
        settings = dataclasses.asdict(self)
        settings["vocabulary"] = self.vocabulary.digest()
        if self.personal_data != "presidio":
            del settings["personal_data_model"]
        if self.licence is None:
            del settings["licence"]
        for given, fingerprint in zip(settings["inputs"], fingerprints, strict=True):
            given["path"] = fingerprint
        return settings | {"format": FORMAT}

    def finder(self) -> Finder | None:
        """Gives what finds personal data; None where it is kept."""
        if self.personal_data == "keep":
            return None
        if self.personal_data == "presidio":
            by_default = self.personal_data_kinds == DEFAULT_KINDS
            entities = None if by_default else [kind.upper() for kind in self.personal_data_kinds]
            return PresidioFinder(entities=entities, model=self.personal_data_model)
        return PatternFinder(self.personal_data_kinds)
