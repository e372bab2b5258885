"""The template collections that the studio shows, searched by words, and one's own folder."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from instrux.errors import InputError
from instrux.prompts import Template, TemplateCollection
from instrux.prompts.collection import DatasetTemplates
from instrux.prompts.template_files import FILE_NAME


@dataclass(frozen=True)
class Entry:
    """A template of a collection.

    Attributes:
        collection: what it was loaded from.
        dataset: `dataset` or `dataset/subset`.
        template: the template.
        words: what a search looks through, in lower case.
    """

    collection: str
    dataset: str
    template: Template
    words: str


@dataclass(frozen=True)
class Found:
    """What a search gives: entries in order, and what could not be read."""

    entries: list[Entry]
    problems: list[str]


class Library:
    """Collections by name. A collection is read again when a file of its folder changed.

    Attributes:
        names: releases and folders, as `TemplateCollection.load` takes them.
        own: the folder whose templates can be changed, or None; it is one of `names`.
    """

    def __init__(self, names: Sequence[str], own: Path | None = None) -> None:
        self.own = own
        mine = () if own is None else (str(own),)
        self.names = tuple(dict.fromkeys([*mine, *names]))
        self._lock = threading.Lock()
        self._read: dict[str, tuple[object, TemplateCollection | None, Found]] = {}

    def editable(self, collection: str) -> bool:
        """Whether templates of the collection can be changed."""
        return self.own is not None and collection == str(self.own)

    def search(self, words: str, *, collection: str = "", dataset: str = "") -> Found:
        """Templates that hold all the words, those first that have them in their name or dataset.

        Args:
            words: separated by spaces, in any case.
            collection: only of this one, if given.
            dataset: only of this one, if given.
        """
        sought = words.lower().split()
        entries, problems = [], []
        for name in self.names:
            if collection and name != collection:
                continue
            found = self._collection(name)[1]
            problems += found.problems
            entries += [
                entry
                for entry in found.entries
                if (not dataset or entry.dataset == dataset)
                and all(word in entry.words for word in sought)
            ]
        if sought:
            entries.sort(key=lambda entry: not all(word in _title(entry) for word in sought))
        return Found(entries, problems)

    def datasets(self) -> list[str]:
        """Names of all datasets that have templates, in order."""
        found = {
            entry.dataset for name in self.names for entry in self._collection(name)[1].entries
        }
        return sorted(found)

    def templates_of(self, collection: str, dataset: str) -> DatasetTemplates:
        """The templates of a dataset.

        Raises:
            InputError: there is no such collection or dataset.
        """
        loaded = self._collection(collection)[0] if collection in self.names else None
        if loaded is None:
            raise InputError(f"no templates from {collection!r} are shown here")
        return loaded[dataset]

    def _collection(self, name: str) -> tuple[TemplateCollection | None, Found]:
        with self._lock:
            stamp = _stamp(Path(name))
            kept = self._read.get(name)
            if kept is None or kept[0] != stamp:
                kept = (stamp, *_loaded(name, own=self.editable(name)))
                self._read[name] = kept
            return kept[1:]


def _title(entry: Entry) -> str:
    return f"{entry.dataset} {entry.template.name}".lower()


def _stamp(folder: Path) -> object:
    """What changes with the files of a folder; a release has none, and does not change."""
    if not folder.is_dir():
        return None
    files = sorted(folder.rglob(FILE_NAME))
    return tuple((str(f), s.st_mtime_ns, s.st_size) for f in files for s in [f.stat()])


def _loaded(name: str, *, own: bool) -> tuple[TemplateCollection | None, Found]:
    if own and not any(Path(name).rglob(FILE_NAME)):
        return None, Found([], [])
    try:
        collection = TemplateCollection.load(name)
    except InputError as error:
        return None, Found([], [str(error)])
    problems: list[str] = []
    return collection, Found(list(_entries(name, collection, problems)), problems)


def _entries(name: str, collection: TemplateCollection, problems: list[str]) -> Iterator[Entry]:
    for dataset, templates in collection.items():
        try:
            for template in templates.values():
                words = f"{dataset} {template.name} {template.jinja}".lower()
                yield Entry(name, dataset, template, words)
        except InputError as error:
            problems.append(str(error))
