"""What lies at a path: the artefact there, those below it, or the one that it is a part of."""

from collections.abc import Iterator
from pathlib import Path

from instrux.data.artefacts import CONVERTED, Artefact, read_artefact
from instrux.data.lineage_files import FILE_NAME as LINEAGE_NAME
from instrux.errors import InputError

_MANIFEST = "manifest.json"
_CONTAINERS = ("rendered", "demonstrations", "cache", "vocab", "packed", "exported", "audit")
_OF_EARLIER_VERSIONS = ("model.json", "results.json")
_WHOLE = ("run", "fetched", *CONVERTED)  # all below them is theirs, listed or not
_DEEPEST = 4
_HIGHEST = 6


def find_artefacts(path: str | Path) -> list[Artefact]:
    """Reads what lies at a path.

    Args:
        path: a folder of ours, with the splits of a task, say; a folder with such folders below it, a
            data folder or a recipe's output; or a file of one of them.

    Raises:
        InputError: there is nothing of ours, or a manifest cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder.")
    try:
        manifests = _beside(path) if path.is_file() else _manifests(path)
        found = [read_artefact(manifest) for manifest in manifests] or _owners(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if not found:
        raise InputError(
            f"{path}: nothing that Instrux wrote (no manifest, no lineage.json), and no part of it; "
            "give a rendered, packed or other folder of ours, or a --data_dir."
        )
    return found


def _beside(file: Path) -> list[Path]:
    """The manifest of a single file, or the file, where it is one."""
    if file.name == LINEAGE_NAME or file.name.endswith(f".{LINEAGE_NAME}"):
        return [file]
    names = (f"{file.name}.{LINEAGE_NAME}", f"{file.stem}.{LINEAGE_NAME}")
    return [file.with_name(name) for name in names if file.with_name(name).exists()][:1]


def _manifests(folder: Path) -> list[Path]:
    found = _own(folder)
    if any(not each.name.endswith(f".{LINEAGE_NAME}") for each in found):
        return found
    # Of single files, beside which anything may lie, such as the folders of a recipe.
    if folder.name in _CONTAINERS:
        return [each for child in sorted(folder.iterdir()) for each in _in_child(child)]
    return [*found, *_below(folder, _DEEPEST)]


def _own(folder: Path) -> list[Path]:
    own = [folder / name for name in (_MANIFEST, LINEAGE_NAME) if (folder / name).exists()]
    beside = sorted(folder.glob(f"*.{LINEAGE_NAME}"))
    found = [*sorted(folder.glob("manifest.*.json")), *own, *beside]
    is_run = (folder / "checkpoints").is_dir()  # one that still trains, with a selection perhaps
    if own or (found and not is_run):
        return found
    early = [folder / name for name in _OF_EARLIER_VERSIONS if (folder / name).exists()]
    return [*found, *early[:1]]


def _in_child(child: Path) -> list[Path]:
    if not child.is_dir():
        return []
    # What died half-way has no manifest; it must be told, not passed over.
    return _own(child) or [child / _MANIFEST]


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Manifests in folders below one, those of a run's evaluations among them."""
    for child in sorted(folder.iterdir()):
        if not child.is_dir() or child.name.startswith((".", "checkpoint")):
            continue
        own = _own(child)
        if child.name in _CONTAINERS and not own:  # a run may be called `demonstrations`, too
            yield from (each for inner in sorted(child.iterdir()) for each in _in_child(inner))
            continue
        yield from own
        if depth > 1:
            yield from _below(child, depth - 1)


def _owners(path: Path) -> list[Artefact]:
    """What a path is a part of: a file that a manifest lists, or a checkpoint of a run."""
    inside = path.absolute()
    for folder in list(path.absolute().parents)[:_HIGHEST]:
        try:
            found = [read_artefact(manifest) for manifest in _own(folder)]
        except InputError:
            continue  # somebody else's manifest.json or results.json
        if owners := [each for each in found if _holds(each, inside)]:
            return owners
    return []


def _holds(artefact: Artefact, path: Path) -> bool:
    if artefact.kind in _WHOLE and artefact.manifest.name in (LINEAGE_NAME, "model.json"):
        return True
    folder = artefact.folder.absolute()
    return any((folder / file.name).is_relative_to(path) for file in artefact.files)
