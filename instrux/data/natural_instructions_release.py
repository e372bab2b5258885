"""Fetches a release of Natural Instructions into the cache folder.

A release is pinned by its tag, and no digest is pinned with it: the archive is made by its host
when it is asked for, and none was published. Its digest is told and kept beside what was unpacked;
whoever has one to hold it against gives it. What came is checked by its content: every task of the
official split lists must be there.
"""

import contextlib
import hashlib
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from instrux.cache_folder import cache_folder
from instrux.data.files import write_json_atomically
from instrux.data.natural_instructions_files import release_folder, split_folder, task_files, unpack
from instrux.data.natural_instructions_splits import read_split_list
from instrux.errors import InputError, did_you_mean
from instrux.progress import Progress, tell

_BLOCK = 1 << 20
_MAX_BYTES = 8 << 30
_SECONDS_WITHOUT_A_BYTE = 60
RECORD = "fetched.json"


@dataclass(frozen=True)
class Release:
    """A release.

    Attributes:
        name: its tag.
        url: of its archive.
        sha256: digest of the archive, or None where nobody published one.
    """

    name: str
    url: str
    sha256: str | None = None


DEFAULT_RELEASE = "v2.8"
RELEASES: Mapping[str, Release] = {
    DEFAULT_RELEASE: Release(
        DEFAULT_RELEASE,
        "https://github.com/allenai/natural-instructions/archive/refs/tags/v2.8.tar.gz",
    )
}


def fetch_natural_instructions(
    release: str = DEFAULT_RELEASE, *, source: str | Path | None = None, sha256: str | None = None
) -> Path:
    """Gives the folder of a release, fetching and unpacking it where it is absent.

    Args:
        release: its tag.
        source: an archive on this machine in place of the download.
        sha256: what the archive's digest must be.

    Returns:
        A folder with `tasks/` and `splits/`.

    Raises:
        InputError: there is no such release, it cannot be had, its digest is another, or it is
            not a whole release.
    """
    known = RELEASES.get(release)
    if known is None:
        raise InputError(
            f"no Natural Instructions release {release!r} is known here; give one of"
            f" {', '.join(RELEASES)}.{did_you_mean(release, RELEASES)}"
        )
    folder = release_folder(release)
    if folder.is_dir():
        return folder
    with _archive(known, source) as archive:
        digest = _digest(archive)
        expected = sha256 if sha256 is not None else known.sha256
        if expected is not None and digest != expected.lower():
            raise InputError(f"{archive}: its SHA-256 is {digest}, not {expected.lower()}.")
        _put(archive, folder, {"release": release, "sha256": digest})
    tell(
        f"Natural Instructions {release}: SHA-256 of the archive {digest}"
        + ("" if expected else " (nothing to hold it against; --sha256 does, another time)")
    )
    return folder


def missing_tasks(folder: str | Path) -> list[str]:
    """Tasks that the split lists of a folder name and that it has no file for.

    The lists of the two tracks are of different ages: those of the English track count.
    """
    lists = split_folder(folder)
    if lists is None:
        return []
    there = {path.stem for path in task_files(folder)}
    named = {
        name for path in sorted(lists.glob("default/*_tasks.txt")) for name in read_split_list(path)
    }
    return sorted(named - there)


def _put(archive: Path, folder: Path, record: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        unpacked = Path(scratch) / "release"
        count = unpack(archive, unpacked)
        if missing := missing_tasks(unpacked):
            raise InputError(
                f"{archive}: not a whole release: {len(missing)} tasks of its own split lists are"
                f" not in it, such as {missing[0]}."
            )
        write_json_atomically(unpacked / RECORD, {**record, "tasks": count})
        # Another process may have been first; what it put there is the same release.
        with contextlib.suppress(FileExistsError):
            unpacked.rename(folder)


@contextlib.contextmanager
def _archive(release: Release, source: str | Path | None) -> Iterator[Path]:
    if source is not None:
        path = Path(source).expanduser()
        if not path.is_file():
            raise InputError(
                f"{path}: no such archive; a checkout needs no fetching: let INSTRUX_MIRROR name it."
            )
        cache_folder().mkdir(parents=True, exist_ok=True)
        yield path
        return
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
            path = Path(scratch) / f"natural-instructions-{release.name}.tar.gz"
            _download(release, path)
            yield path
    except OSError as error:
        raise InputError(
            f"cannot write to {cache_folder()}: {error.strerror or error};"
            " set INSTRUX_CACHE to a folder that can be written"
        ) from error


def _download(release: Release, path: Path) -> None:
    try:
        with urllib.request.urlopen(release.url, timeout=_SECONDS_WITHOUT_A_BYTE) as stream:
            size = int(stream.headers.get("Content-Length") or 0)
            shown = Progress(f"fetch {release.name}", total=size or _MAX_BYTES, unit="bytes")
            with path.open("wb") as file:
                while block := stream.read(_BLOCK):
                    file.write(block)
                    shown.update(file.tell())
                    if file.tell() > _MAX_BYTES:
                        raise InputError(f"{release.url}: more than {_MAX_BYTES >> 30} GB.")
                if size and file.tell() != size:
                    raise InputError(
                        f"{release.url}: ended after {file.tell():,} of {size:,} bytes; try again."
                    )
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"cannot fetch Natural Instructions {release.name} from {release.url} ({reason});"
            " give an archive of it by --source, or let INSTRUX_MIRROR name a checkout"
        ) from error


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
