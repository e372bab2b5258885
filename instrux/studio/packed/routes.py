"""Pages about packed datasets; they read the rows that they show, and write nothing."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from instrux.data.packed import PackedDataset
from instrux.data.packed_manifest import MANIFEST_NAME, PackManifest, read_manifest
from instrux.data.vocabularies import Vocabulary
from instrux.errors import InputError
from instrux.studio.app import Subject
from instrux.studio.packed.segments import rows_of, vocabulary_of
from instrux.studio.pages import page
from instrux.studio.paging import choice, paging

HOME = "/packed"
_ROWS = 4
_SETS = 50
_VIEWS = {"text": "text", "tokens": "tokens"}


def subject(data_dirs: Sequence[Path]) -> Subject:
    """The pages over the packed sets of some data folders."""
    return Subject(
        title="Packed",
        path=HOME,
        routes=[Route(HOME, _sets), Route(f"{HOME}/{{set}}", _set)],
        state={"data_dirs": tuple(data_dirs)},
    )


def _found(request: Request) -> dict[str, Path]:
    """Folders of packed sets by a digest of their path, by name in order."""
    folders = [
        path.parent
        for data_dir in request.app.state.data_dirs
        for path in data_dir.glob(f"packed/*/{MANIFEST_NAME}")
    ]
    return {_id(path): path for path in sorted(folders, key=lambda path: path.name)}


def _id(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:12]


def _sets(request: Request) -> Response:
    found = list(_found(request).items())
    shown = paging(request, len(found), _SETS)
    part = found[shown.start : shown.stop]
    return page(
        request,
        "packed/sets.html",
        {
            "sets": [(name, path, *_manifest(path)) for name, path in part],
            "paging": shown,
            "data_dirs": request.app.state.data_dirs,
        },
    )


def _manifest(path: Path) -> tuple[PackManifest | None, str]:
    try:
        return read_manifest(path), ""
    except InputError as error:
        return None, str(error)


def _set(request: Request) -> Response:
    folder = _found(request).get(request.path_params["set"])
    if folder is None:
        raise HTTPException(404)
    dataset, vocabulary, problem = _opened(folder, (folder / MANIFEST_NAME).stat().st_mtime_ns)
    shown = paging(request, len(dataset), _ROWS)
    numbers = range(shown.start, shown.stop)
    return page(
        request,
        "packed/set.html",
        {
            "folder": folder,
            "manifest": dataset.manifest,
            "rows": rows_of(dataset.rows(np.array(numbers)), numbers, dataset.manifest, vocabulary),
            "view": choice(request, "view", _VIEWS),
            "views": _VIEWS,
            "problem": problem,
            "paging": shown,
        },
    )


@lru_cache(maxsize=8)
def _opened(folder: Path, changed: int) -> tuple[PackedDataset, Vocabulary | None, str]:
    dataset = PackedDataset(folder, verify=False)
    return dataset, *vocabulary_of(dataset.manifest)
