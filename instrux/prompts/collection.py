"""Collections of templates: a published release, or a folder of one's own."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from instrux.errors import InputError, did_you_mean
from instrux.prompts import releases
from instrux.prompts.errors import TemplateFileError, UnknownNameError
from instrux.prompts.template import Template
from instrux.prompts.template_files import FILE_NAME, read_templates

_USERS = ("Zaid", "craffel")  # their folders hold user/dataset[/subset]
_MAX_DEPTH = 3


class DatasetTemplates(Mapping[str, Template]):
    """The templates of one dataset or subset, by exact name, in sorted order.

    Attributes:
        dataset: the dataset, with its user where it has one (`craffel/openai_lambada`).
        subset: the subset, or None.
        path: the file they come from.
    """

    def __init__(self, dataset: str, subset: str | None, path: Path, *, check: bool = True) -> None:
        self._check = check
        self.dataset = dataset
        self.subset = subset
        self.path = path
        self._templates: dict[str, Template] | None = None

    @property
    def name(self) -> str:
        """`dataset` or `dataset/subset`."""
        return self.dataset if self.subset is None else f"{self.dataset}/{self.subset}"

    def _read(self) -> dict[str, Template]:
        if self._templates is None:
            self._templates = read_templates(self.path, self.name, check=self._check)
        return self._templates

    def __getitem__(self, name: str) -> Template:
        templates = self._read()
        if name not in templates:
            near = did_you_mean(name, templates) or f" It has {', '.join(map(repr, templates))}."
            raise UnknownNameError(f"{self.name} has no template {name!r}.{near}")
        return templates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"DatasetTemplates({self.name!r})"


class TemplateCollection(Mapping[str, DatasetTemplates]):
    """All templates of a release or a folder, by `dataset` or `dataset/subset`, in sorted order.

    Files are read when their templates are first asked for.

    Attributes:
        name: the release or folder that it was loaded from.
    """

    def __init__(self, name: str, datasets: Iterable[DatasetTemplates]) -> None:
        self.name = name
        self._datasets = {each.name: each for each in sorted(datasets, key=lambda each: each.name)}

    @classmethod
    def load(
        cls, name_or_folder: str | os.PathLike[str], *, users: Iterable[str] = _USERS
    ) -> "TemplateCollection":
        """Loads a release by name, fetching it where it is absent, or a folder.

        Args:
            name_or_folder: `promptsource-0.2.3`, `promptsource-0.1.0`, or a folder that holds
                `dataset/templates.yaml` and `dataset/subset/templates.yaml`.
            users: folders that hold datasets of a user (`user/dataset[/subset]/templates.yaml`).

        Raises:
            InputError: if there is no such release or folder, or no template file in it.
        """
        name = os.fspath(name_or_folder)
        if name in releases.RELEASES:
            return _release(name)
        folder = Path(name)
        if not folder.is_dir():
            known = " or ".join(releases.RELEASES)
            raise InputError(
                f"no template release or folder {name!r}; give {known}, or a folder that exists."
                f"{did_you_mean(name, releases.RELEASES)}"
            )
        return cls(name, _find(folder, frozenset(users), check=True))

    def __getitem__(self, name: str) -> DatasetTemplates:
        try:
            return self._datasets[name]
        except KeyError:
            pass
        subsets = [known for known in self._datasets if known.startswith(f"{name}/")]
        if subsets:
            raise UnknownNameError(
                f"{self.name} has templates for {name!r} only by subset: {', '.join(subsets)}"
            )
        raise UnknownNameError(
            f"{self.name} has no dataset {name!r}.{did_you_mean(name, self._datasets)}"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)

    def __repr__(self) -> str:
        return f"TemplateCollection({self.name!r})"

    def templates(self) -> Iterator[Template]:
        """Yields all templates, dataset by dataset, names sorted."""
        for dataset in self.values():
            yield from dataset.values()


def _find(folder: Path, users: frozenset[str], *, check: bool) -> list[DatasetTemplates]:
    found: list[DatasetTemplates] = []
    for path in sorted(folder.rglob(FILE_NAME)):
        parts = path.relative_to(folder).parts[:-1]
        if any(part.startswith(".") for part in parts):
            continue
        named = 2 if parts and parts[0] in users else 1
        if len(parts) not in (named, named + 1):
            raise TemplateFileError(
                f"{path}: lies at the wrong depth; put it at <dataset>[/<subset>]/{FILE_NAME}"
                f" below {folder}"
            )
        subset = parts[named] if len(parts) > named else None
        found.append(DatasetTemplates("/".join(parts[:named]), subset, path, check=check))
    if not found:
        raise TemplateFileError(
            f"{folder}: no {FILE_NAME} in it; put one at <dataset>[/<subset>]/{FILE_NAME}"
        )
    return found


# The templates of a pinned release are known to compile; checking them all would take seconds.
@lru_cache(maxsize=16)
def _loaded(name: str, folder: Path) -> TemplateCollection:
    return TemplateCollection(name, _find(folder, frozenset(_USERS), check=False))


def _release(name: str) -> TemplateCollection:
    return _loaded(name, releases.fetch_promptsource(releases.RELEASES[name].version))


@dataclass(frozen=True)
class TemplateReference:
    """Names a template of a release or folder; plain data that travels anywhere.

    Attributes:
        release: what `TemplateCollection.load` takes.
        dataset: the dataset, with its user where it has one.
        subset: the subset, or None.
        name: the exact template name.
    """

    release: str
    dataset: str
    subset: str | None
    name: str

    def resolve(self) -> Template:
        """Gives the template; the collection is loaded once in a process.

        Raises:
            InputError: if there is no such release, dataset or template.
        """
        key = self.dataset if self.subset is None else f"{self.dataset}/{self.subset}"
        return _collection(self.release)[key][self.name]


@lru_cache(maxsize=16)
def _collection(release: str) -> TemplateCollection:
    return TemplateCollection.load(release)
