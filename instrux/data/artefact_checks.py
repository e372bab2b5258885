"""Whether an artefact is as it was written: every file, its records, and what it was made from."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from instrux.data.artefact_search import find_artefacts
from instrux.data.artefacts import CONVERTED, Artefact, ListedFile
from instrux.data.files import size_and_digest
from instrux.data.lineage_files import FILE_NAME as LINEAGE_NAME
from instrux.data.lineage_files import Source, content_digest
from instrux.data.tfrecord import read_records
from instrux.errors import InputError

SAME, CHANGED, ABSENT, NOT_OURS = "same", "changed", "not at hand", "not ours"
AT_HAND = "at hand"


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        path: the file or folder.
        what: what is wrong with it.
        mend: what to do.
    """

    path: Path
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.mend}"


def problems_of(artefact: Artefact) -> Iterator[Problem]:
    """Checks an artefact's own files: all there, none changed, and as many records as it says."""
    mend = _again(artefact)
    if artefact.sealed is False:
        yield Problem(artefact.manifest, "changed since it was written", mend)
    if not artefact.complete:
        yield Problem(artefact.folder, "was not finished (no COMPLETED)", mend)
    for file in artefact.files:
        if what := _wrong_with(artefact.folder / file.name, file):
            yield Problem(artefact.folder / file.name, what, mend)
    for what in _wrong_counts(artefact):
        yield Problem(artefact.manifest, what, mend)


def _again(artefact: Artefact) -> str:
    if artefact.mend.startswith(("`", "the stage")):
        return f"run {artefact.mend} again"
    return artefact.mend


def _wrong_with(path: Path, file: ListedFile) -> str:
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"has {size:,} bytes, its manifest says {file.bytes:,}"
        if size_and_digest(path)[1] != file.sha256:
            return "changed: its checksum is not the manifest's"
        count = _counter(path.name)
        found = None if count is None or file.records is None else count(path)
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError) as error:
        return f"cannot be read ({str(error).splitlines()[0]})"
    if found is not None and found != file.records:
        return f"has {found:,} records, its manifest says {file.records:,}"
    return ""


def _counter(name: str) -> Callable[[Path], int] | None:
    if ".tfrecord-" in name:
        return lambda path: sum(1 for _ in read_records(path))
    if ".array_record-" in name:
        return _array_records
    if name.endswith(".jsonl"):
        return _lines
    return _parquet_rows if name.endswith(".parquet") else None


def _array_records(path: Path) -> int:
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(str(path))
        count = reader.num_records()
        reader.close()
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return count


def _lines(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def _parquet_rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return pq.read_metadata(path).num_rows


def _wrong_counts(artefact: Artefact) -> Iterator[str]:
    """Holds what was counted against the files' records."""
    wanted, files = {
        "rendered": ("examples", ".tfrecord-"),
        "cache": ("examples", ".tfrecord-"),
        "packed": ("rows", ".array_record-"),
        "export": ("rows", f".{artefact.settings.get('format')}"),
    }.get(artefact.kind, ("", ""))
    if wanted not in artefact.counts:
        return
    held = sum(file.records or 0 for file in artefact.files if files in file.name)
    if held != artefact.counts[wanted]:
        yield f"says {artefact.counts[wanted]:,} {wanted}, its files hold {held:,}"
    if artefact.kind == "rendered" and "source_split" in artefact.settings:
        read = artefact.counts["rows"]
        accounted = artefact.counts["examples"] + sum(artefact.dropped.values())
        if read != accounted:
            yield f"says {read:,} rows were read, and accounts for {accounted:,} of them"


def extra_files(artefacts: Iterable[Artefact]) -> Iterator[Problem]:
    """Finds files in the artefacts' folders that belong to none of them."""
    by_folder: dict[Path, list[Artefact]] = {}
    for artefact in artefacts:
        by_folder.setdefault(artefact.folder, []).append(artefact)
    for folder, several in by_folder.items():
        known = {folder / file.name for each in several for file in each.files}
        for glob in {glob for each in several for glob in each.companions}:
            known.update(folder.glob(glob))
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path not in known:
                yield Problem(path, "does not belong here: no manifest lists it", "remove it")


@dataclass(frozen=True)
class Link:
    """A source of an artefact, as it is now.

    Attributes:
        source: what the artefact recorded.
        state: `same`, `changed` since, `not at hand`, `at hand` (and not read), or `not ours` (nothing
            to hold it against).
        artefact: what lies there now, if it is one.
    """

    source: Source
    state: str
    artefact: Artefact | None = None


def links_of(artefact: Artefact, *, thorough: bool = False) -> list[Link]:
    """Looks up what an artefact was made from.

    Args:
        artefact: what was made.
        thorough: whether checkpoints, which may be large, are read.
    """
    return [_link(artefact, source, thorough=thorough) for source in artefact.sources]


def _link(artefact: Artefact, source: Source, *, thorough: bool) -> Link:
    if source.kind in ("dataset", "template", "exclude", "release") and not source.files:
        return Link(source, NOT_OURS)
    if source.kind == "vocabulary":
        return Link(source, _vocabulary_state(source))
    path = _found(artefact, source)
    if path is None:
        return Link(source, ABSENT if source.path else NOT_OURS)
    if source.kind == "study":
        return Link(source, AT_HAND)
    if source.kind == "checkpoint" or source.files:
        state = _content_state(path, source) if thorough else AT_HAND
        if source.kind == "file":
            return Link(source, state, _of_file(path / source.files[0]))
        return Link(replace(source, path=str(path)), state, _checkpoint_at(path, source.kind))
    try:
        there = [each for each in find_artefacts(path) if _is_of(each, source)]
    except InputError:
        return Link(source, CHANGED)
    if not there:
        return Link(source, ABSENT)
    is_same = there[0].fingerprint == source.fingerprint
    state = (SAME if is_same else CHANGED) if source.fingerprint else AT_HAND
    return Link(replace(source, path=str(path)), state, there[0])


def _content_state(folder: Path, source: Source) -> str:
    if not source.files:
        return AT_HAND
    try:
        return SAME if content_digest(folder, source.files) == source.fingerprint else CHANGED
    except OSError:
        return ABSENT


def _of_file(path: Path) -> Artefact | None:
    try:
        return find_artefacts(path)[0]
    except InputError:
        return None


def _checkpoint_at(path: Path, kind: str) -> Artefact | None:
    """What is known of a checkpoint, where it is one that we wrote."""
    kinds = ("run", *CONVERTED) if kind == "checkpoint" else (kind,)
    # T5X's checkpoint is named by its own folder as often as by the one above, which we write to.
    above = [path.parent] if (path.parent / LINEAGE_NAME).exists() else []
    for folder in (path, *above):
        try:
            found = [each for each in find_artefacts(folder) if each.kind in kinds]
        except InputError:
            continue
        if found and (folder == path or found[0].kind == "t5x"):
            return found[0]
    return None


def _is_of(artefact: Artefact, source: Source) -> bool:
    if artefact.kind != source.kind:
        return False
    return not source.split or artefact.name == f"{source.name}, {source.split}"


def _vocabulary_state(source: Source) -> str:
    if not source.path:
        return NOT_OURS
    try:
        return SAME if size_and_digest(source.path)[1] == source.fingerprint else CHANGED
    except OSError:
        return ABSENT


def _found(artefact: Artefact, source: Source) -> Path | None:
    """Where a source lies: as recorded, or from the artefact's own folder upwards."""
    if not source.path:
        return None
    path = Path(source.path)
    above = [] if path.is_absolute() else artefact.folder.absolute().parents
    places = [path, *(parent / path for parent in above)]
    # By one of its files: somewhere above, another folder may have the same name.
    inner = source.files[0] if source.files else ""
    return next((place for place in places if (place / inner).exists()), None)


def broken_links(artefact: Artefact, links: Iterable[Link]) -> Iterator[Problem]:
    """Tells which sources are not what they were."""
    for link in links:
        if link.state == CHANGED:
            split = f", {link.source.split}" if link.source.split else ""
            yield Problem(
                Path(link.source.path or link.source.name),
                f"{link.source.kind} {link.source.name}{split} changed since {artefact.kind} "
                f"{artefact.name} was made from it",
                _again(artefact),
            )


def as_json(artefact: Artefact) -> dict[str, Any]:
    """An artefact as plain data."""
    return json.loads(json.dumps(asdict(artefact), default=str))
