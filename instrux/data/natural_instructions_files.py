"""Where task files of Natural Instructions lie: checkouts, archives, folders, single files.

A place is one of

    a checkout, or any folder with `tasks/task*.json` or with `task*.json` in itself;
    an archive of one, `.zip` or `.tar`, the latter compressed or not;
    one task file.

Archives come from anywhere and are not trusted: nothing but task files and lists of splits is
taken out of them, by names of our own making, up to a size.
"""

import contextlib
import fcntl
import hashlib
import lzma
import os
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from instrux.cache_folder import cache_folder
from instrux.data.mirror import VARIABLE
from instrux.errors import InputError, did_you_mean
from instrux.progress import tell

DATASET = "natural_instructions"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_TASK_FILE = re.compile(r"task\d+_[\w.\-]+\.json", re.ASCII)
_SPLIT_FILE = re.compile(r"[\w.\-]+\.txt", re.ASCII)
_MAX_MEMBERS = 50_000
_MAX_MEMBER_BYTES = 256 << 20
_MAX_TOTAL_BYTES = 16 << 30  # the release has some 3 GB
_BLOCK = 1 << 20
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
)


def release_folder(release: str) -> Path:
    """Where a fetched release lies, whether or not it is there."""
    return cache_folder() / f"natural-instructions-{release}"


def places(place: str = "") -> list[Path]:
    """Where task files are looked for, in order.

    Args:
        place: the only one, if given. Otherwise every folder of INSTRUX_MIRROR is one, and
            so are a `natural_instructions` folder or archive in it; then fetched releases, the
            newest version first.
    """
    if place:
        return [Path(place).expanduser()]
    found = []
    for mirror in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        folder = Path(mirror).expanduser()
        inside = [folder / DATASET, *(folder / f"{DATASET}{suffix}" for suffix in ARCHIVES)]
        found += [place for place in (*inside, folder) if place.exists()]
    fetched = cache_folder().glob("natural-instructions-*")
    return found + sorted((path for path in fetched if path.is_dir()), reverse=True)


def find_task_file(names: Sequence[str], place: str = "") -> Path:
    """Finds the file of a task.

    Args:
        names: the task's name, then other names that its file may have.
        place: as in `places`.

    Raises:
        InputError: no place has it, or a place cannot be read.
    """
    looked_into = places(place)
    for each in looked_into:
        folder = _as_folder(each)
        for name in names:
            if folder is None:
                if each.name == f"{name}.json":
                    return each
                continue
            for candidate in (folder / "tasks" / f"{name}.json", folder / f"{name}.json"):
                if candidate.is_file():
                    return candidate
    raise InputError(_absent(names[0], looked_into, given=bool(place)))


def task_files(place: str | Path) -> list[Path]:
    """All task files of a place, in order of name.

    Raises:
        InputError: the place cannot be read, or has none.
    """
    place = Path(place).expanduser()
    folder = _as_folder(place)
    if folder is None:
        return [place]
    for inner in (folder / "tasks", folder):
        if inner.is_dir():
            found = sorted(p for p in inner.iterdir() if _TASK_FILE.fullmatch(p.name))
            if found:
                return found
    raise InputError(
        f"{place}: no task files (tasks/task<number>_<name>.json) in it; is it a checkout of "
        "natural-instructions?"
    )


def split_folder(place: str | Path) -> Path | None:
    """The folder `splits/` of a place; None if it has none."""
    folder = _as_folder(Path(place).expanduser())
    return folder / "splits" if folder is not None and (folder / "splits").is_dir() else None


def _as_folder(place: Path) -> Path | None:
    """The folder that a place stands for; None for a single task file."""
    if place.is_dir():
        return place
    if place.is_file() and place.name.endswith(ARCHIVES):
        return unpacked(place)
    if place.is_file() and place.suffix == ".json":
        return None
    raise InputError(
        f"{place}: not a folder, an archive ({', '.join(ARCHIVES)}) or a task file (.json)."
    )


def _absent(name: str, looked_into: Sequence[Path], *, given: bool) -> str:
    known = set()
    for place in looked_into:
        with contextlib.suppress(InputError):
            known |= {path.stem for path in task_files(place)}
    where = ", ".join(map(str, looked_into)) or f"{VARIABLE}, which names no folder,"
    mend = (
        ""
        if given
        else f" Run `instrux fetch natural-instructions`, or let {VARIABLE} name a folder or archive."
    )
    return f"no task file {name}.json in {where}.{did_you_mean(name, known)}{mend}"


# --- Archives ------------------------------------------------------------------------------------


def unpacked(archive: Path) -> Path:
    """Gives the folder that an archive was unpacked into, in the cache folder; does it once.

    Raises:
        InputError: the archive is broken, holds too much or something that leads elsewhere, or
            the cache folder cannot be written to.
    """
    stat = archive.stat()
    stamp = f"{archive.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    name = hashlib.blake2b(stamp.encode(), digest_size=10).hexdigest()
    target = cache_folder() / "natural_instructions_archives" / name
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent / f"{name}.lock"):
            if not target.is_dir():
                unpack(archive, target)
    except OSError as error:
        raise InputError(
            f"{archive}: cannot be unpacked into {target.parent} ({error.strerror or error});"
            " set INSTRUX_CACHE to a folder that can be written"
        ) from error
    return target


def unpack(archive: Path, target: Path) -> int:
    """Unpacks task files and lists of splits into `target`, which appears whole or not at all.

    Returns:
        The number of task files.

    Raises:
        InputError: as `unpacked`.
    """
    tell(f"unpacking {archive.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        folder = Path(scratch) / "unpacked"
        count = _unpack_members(archive, folder)
        if not count:
            raise InputError(f"{archive}: no task file (tasks/task<number>_<name>.json) in it.")
        folder.replace(target)
    return count


def _unpack_members(archive: Path, folder: Path) -> int:
    count = total = 0
    try:
        for number, (name, stream) in enumerate(_members(archive)):
            if number >= _MAX_MEMBERS:
                raise InputError(f"{archive}: more than {_MAX_MEMBERS:,} members.")
            relative = _wanted(name)
            if relative is None:
                continue
            total += _copy(stream, folder.joinpath(*relative.parts), f"{archive}: {name}")
            if total > _MAX_TOTAL_BYTES:
                raise InputError(f"{archive}: more than {_MAX_TOTAL_BYTES >> 30} GB unpacked.")
            count += relative.parts[0] == "tasks"
    except FileExistsError as error:
        raise InputError(f"{archive}: two members are {Path(error.filename).name}.") from error
    except _BROKEN as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{archive}: a broken archive ({str(error).splitlines()[0]}).") from error
    return count


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of the regular files."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as members:
            for info in members.infolist():
                # The upper half of the attributes is the Unix mode; links are no files.
                if not info.is_dir() and (info.external_attr >> 28) != 0xA:
                    with members.open(info) as stream:
                        yield info.filename, stream
    else:
        with tarfile.open(archive, "r:*") as members:
            for member in members:
                if member.isreg():
                    stream = members.extractfile(member)
                    assert stream is not None  # it is a regular file
                    yield member.name, stream


def _wanted(name: str) -> PurePosixPath | None:
    """Where a member belongs below the target; None where it is neither task nor split list.

    Only its last parts are used, and only if they are plain names, so that no path leads outside.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts:
        return None
    if len(parts) >= 2 and parts[-2] == "tasks" and _TASK_FILE.fullmatch(parts[-1]):
        return PurePosixPath("tasks", parts[-1])
    if len(parts) == 1 and _TASK_FILE.fullmatch(parts[0]):
        return PurePosixPath("tasks", parts[0])
    if len(parts) >= 3 and parts[-3] == "splits" and _SPLIT_FILE.fullmatch(parts[-1]):
        if re.fullmatch(r"\w+", parts[-2], re.ASCII):
            return PurePosixPath(*parts[-3:])
    return None


def _copy(stream: IO[bytes], path: Path, what: str) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with path.open("xb") as file:
        # Counted as it comes: what the archive says of a member's size may be a lie.
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > _MAX_MEMBER_BYTES:
                raise InputError(f"{what}: larger than {_MAX_MEMBER_BYTES >> 20} MB.")
            file.write(block)
    return size


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed, also by a crash
        yield
