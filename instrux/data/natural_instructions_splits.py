"""Splits of Natural Instructions: the published lists, and the rule that derives them.

The rule needs categories, sources and languages of all tasks, and no random choice. It is that of
the released split script, for any set of held-out categories.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from instrux.cache_folder import cache_folder
from instrux.data.files import write_json_atomically
from instrux.data.natural_instructions_files import places, task_files
from instrux.errors import InputError, did_you_mean
from instrux.progress import Progress, tell
from instrux.prompts.natural_instructions import Task, load_task

Track = Literal["default", "xlingual"]

CLASSIFICATION_CATEGORIES = (
    "Textual Entailment",
    "Cause Effect Classification",
    "Coreference Resolution",
    "Dialogue Act Recognition",
    "Answerability Classification",
    "Word Analogy",
)
"""Held-out categories whose tasks are reported by exact match (released evaluation script)."""

GENERATION_CATEGORIES = (
    "Overlap Extraction",
    "Keyword Tagging",
    "Question Rewriting",
    "Title Generation",
    "Data to Text",
    "Grammar Error Correction",
)
"""Held-out categories whose tasks are reported by ROUGE-L."""

TEST_CATEGORIES = CLASSIFICATION_CATEGORIES + GENERATION_CATEGORIES

BAD_TASKS = ("task1415_youtube_caption_corrections_grammar_correction",)
"""Left out of everything by the authors for bad data."""

_PROBLEMS_SHOWN = 10
_INDEX_FORMAT = 1


@dataclass(frozen=True)
class TaskFacts:
    """What the rule needs to know of a task.

    Attributes:
        name: the task.
        category: its kind.
        sources: datasets that it was made from.
        languages: of its inputs and outputs, in lower case.
        num_instances: instances in its file.
    """

    name: str
    category: str
    sources: tuple[str, ...]
    languages: tuple[str, ...]
    num_instances: int

    @classmethod
    def of(cls, task: Task) -> "TaskFacts":
        """Takes them from a task."""
        languages = {text.lower() for text in (*task.input_languages, *task.output_languages)}
        return cls(
            name=task.name,
            category=task.category,
            sources=task.sources,
            languages=tuple(sorted(languages)),
            num_instances=task.num_entries,
        )

    @property
    def is_english(self) -> bool:
        """Whether inputs and outputs are English and nothing else; instructions do not count."""
        return self.languages == ("english",)


@dataclass(frozen=True)
class SplitLists:
    """Names of tasks by split, each list in order.

    Attributes:
        train: what is trained on.
        test: what is tested on.
        excluded: neither.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    excluded: tuple[str, ...]


def derive_splits(
    facts: Iterable[TaskFacts],
    track: Track = "default",
    *,
    test_categories: Collection[str] = TEST_CATEGORIES,
    without_synthetic: bool = False,
) -> SplitLists:
    """Derives the splits of a track.

    A task of a held-out category is a candidate. What is no candidate but shares a source with
    one, in whatever language, is excluded, lest training has seen the test's texts. So are
    candidates of the other track's language, in the English track all tasks that are not English,
    and a task of bad data. Candidates that remain are the test tasks, the rest is trained on.

    Args:
        facts: all tasks of a release; a list of some of them excludes too little.
        track: `default` is English, `xlingual` tests on other languages than English.
        test_categories: the categories that are held out.
        without_synthetic: whether training tasks made of synthetic data are excluded too.

    Raises:
        InputError: no task has one of the categories.
    """
    facts = list(facts)
    known = {fact.category for fact in facts}
    for category in test_categories:
        if category not in known and test_categories is not TEST_CATEGORIES:
            raise InputError(
                f"no task has the category {category!r}.{did_you_mean(category, known)}"
            )
    candidates = [fact for fact in facts if fact.category in test_categories]
    of_candidates = {source for fact in candidates for source in fact.sources}

    def split(fact: TaskFacts) -> str:
        wrong_language = track == "default" and not fact.is_english
        if fact.category in test_categories:
            wrong_language |= track == "xlingual" and fact.is_english
            return "excluded" if wrong_language or fact.name in BAD_TASKS else "test"
        leaks = not of_candidates.isdisjoint(fact.sources)
        synthetic = any("synthetic" in source.lower() for source in fact.sources)
        excluded = wrong_language or leaks or fact.name in BAD_TASKS
        return "excluded" if excluded or (without_synthetic and synthetic) else "train"

    split_of = {fact.name: split(fact) for fact in facts}

    def names(wanted: str) -> tuple[str, ...]:
        return tuple(sorted(name for name, split in split_of.items() if split == wanted))

    return SplitLists(names("train"), names("test"), names("excluded"))


def read_split_list(path: str | Path) -> list[str]:
    """Reads a published list: a task a line, in no order.

    Raises:
        InputError: it cannot be read, or a line is no task's name.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason}).") from error
    names = []
    for number, line in enumerate(lines, start=1):
        name = line.strip().removesuffix(".json")
        if name and not name.startswith("task"):
            raise InputError(f"{path}, line {number}: {name[:60]!r} is not a task's name.")
        if name:
            names.append(name)
    return names


# --- What a release holds ------------------------------------------------------------------------


def release_facts(place: str | Path | None = None) -> list[TaskFacts]:
    """Gives the facts of every task in a place, in order of name.

    The files of a release have some 3 GB: they are read once, which takes minutes, and what was
    found is kept in the cache folder for as long as they stay as they are. A file that is no task
    is told and passed over.

    Args:
        place: as in `natural_instructions_files.places`; the first that has task files if None.

    Raises:
        InputError: there are no task files.
    """
    files = _files(place)
    path = cache_folder() / "natural_instructions_facts" / f"{_stamp(files)}.json"
    if (kept := _read_facts(path)) is not None:
        return kept
    shown = Progress("read task files", total=len(files), unit="tasks")
    found: list[TaskFacts] = []
    problems = _Problems()
    for number, file in enumerate(files, start=1):
        try:
            task = load_task(file)
        except InputError as error:
            problems.add([str(error)])
            continue
        problems.add(task.problems)
        found.append(TaskFacts.of(task))
        shown.update(number)
    shown.finish()
    problems.tell_rest()
    if not found:
        raise InputError(f"{files[0].parent}: none of its {len(files)} files is a task.")
    write_json_atomically(path, {"tasks": [dataclasses.asdict(fact) for fact in found]})
    return found


def _files(place: str | Path | None) -> list[Path]:
    looked_into: Sequence[str | Path] = [place] if place is not None else places()
    problem = "INSTRUX_MIRROR names no folder, and no release was fetched"
    for each in looked_into:
        try:
            return task_files(each)
        except InputError as error:
            problem = str(error)
    raise InputError(
        f"no Natural Instructions task files: {problem}; run `instrux fetch natural-instructions`."
    )


def _stamp(files: Sequence[Path]) -> str:
    digest = hashlib.blake2b(f"{_INDEX_FORMAT}".encode(), digest_size=10)
    for file in files:
        stat = file.stat()
        digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read_facts(path: Path) -> list[TaskFacts] | None:
    try:
        content: Mapping[str, Sequence[Mapping]] = json.loads(path.read_bytes())
        return [
            TaskFacts(
                name=str(item["name"]),
                category=str(item["category"]),
                sources=tuple(map(str, item["sources"])),
                languages=tuple(map(str, item["languages"])),
                num_instances=int(item["num_instances"]),
            )
            for item in content["tasks"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or not ours: read anew


class _Problems:
    """Tells the first problems as they come, and how many there were in all."""

    def __init__(self, say: Callable[[str], None] = tell) -> None:
        self._say = say
        self._count = 0

    def add(self, problems: Iterable[str]) -> None:
        for problem in problems:
            self._count += 1
            if self._count <= _PROBLEMS_SHOWN:
                self._say(problem)

    def tell_rest(self) -> None:
        if self._count > _PROBLEMS_SHOWN:
            self._say(f"{self._count - _PROBLEMS_SHOWN} more problems in task files")
