"""Published template releases, fetched once through pip into the cache folder.

The archive's digest is pinned. PromptSource declares Python below 3.10 and has no wheels, so pip
would run its `setup.py` to learn its name; a stand-in for the build tool answers in its place, and
no code of the archive is ever run.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from instrux.cache_folder import cache_folder
from instrux.errors import InputError, did_you_mean
from instrux.progress import tell

_MAX_MEMBERS = 5_000
_MAX_MEMBER_BYTES = 4 * 2**20
_MAX_TOTAL_BYTES = 64 * 2**20
_PIP_SECONDS = 600
_BACKEND = """
import os

class _Backend:
    def get_requires_for_build_wheel(self, config_settings=None):
        return []

    def prepare_metadata_for_build_wheel(self, folder, config_settings=None):
        name = "promptsource-{version}.dist-info"
        os.makedirs(os.path.join(folder, name))
        with open(os.path.join(folder, name, "METADATA"), "w") as file:
            file.write("Metadata-Version: 2.1\\nName: promptsource\\nVersion: {version}\\n")
        return name

__legacy__ = _Backend()
"""


@dataclass(frozen=True)
class Release:
    """A published release of PromptSource.

    Attributes:
        version: its version.
        digest: SHA-256 of its source archive.
        files: the number of template files in it.
    """

    version: str
    digest: str
    files: int


RELEASES = {
    "promptsource-0.2.3": Release(
        "0.2.3", "f106c889778a0fe5590e7183904bf964e1a01691c8a29451e44f3df5ddef05f5", 279
    ),
    "promptsource-0.1.0": Release(
        "0.1.0", "726289b468dbd3148d11e37a9959587f4dc560a5b9e95e7ace540e6727646178", 272
    ),
}


def fetch_promptsource(version: str = "0.2.3") -> Path:
    """Gives the template folder of a release, fetching it where it is absent.

    Safe to call from several processes at once: one fetches, the others wait.

    Returns:
        A folder of `dataset[/subset]/templates.yaml`.

    Raises:
        InputError: if there is no such release, or it cannot be fetched, or the archive is not the
            published one.
    """
    name = f"promptsource-{version}"
    release = RELEASES.get(name)
    if release is None:
        known = ", ".join(each.version for each in RELEASES.values())
        raise InputError(
            f"no PromptSource release {version!r} is known here; give one of {known}."
            f"{did_you_mean(version, (each.version for each in RELEASES.values()))}"
        )
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent / f"{name}.lock"):
            if not folder.is_dir():
                _fetch(release, folder)
    except OSError as error:
        raise InputError(
            f"cannot write {name} to {folder.parent}: {error.strerror};"
            " set INSTRUX_CACHE to a folder that can be written"
        ) from error
    return folder


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file; other processes wait."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed, also by a crash
        yield


def _fetch(release: Release, folder: Path) -> None:
    """Puts a release at `folder`, which appears complete or not at all."""
    archive_name = f"promptsource-{release.version}.tar.gz"
    given = folder.parent / archive_name
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        if given.is_file():
            archive = given
        else:
            tell(f"fetching PromptSource {release.version} with pip")
            archive = _download(release, Path(scratch)) / archive_name
        _check_digest(archive, release)
        unpacked = Path(scratch) / "templates"
        unpack_templates(archive, unpacked)
        count = sum(1 for _ in unpacked.rglob("templates.yaml"))
        if count != release.files:
            raise InputError(f"{archive_name}: {count} template files, not {release.files}")
        os.replace(unpacked, folder)


def _download(release: Release, scratch: Path) -> Path:
    tools = scratch / "tools" / "setuptools"
    tools.mkdir(parents=True)
    (tools / "__init__.py").write_text("")
    (tools / "build_meta.py").write_text(_BACKEND.format(version=release.version))
    target = scratch / "archive"
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"promptsource=={release.version} --hash=sha256:{release.digest}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--use-pep517"]
    command += ["--disable-pip-version-check", "--no-input", "--no-binary", "promptsource"]
    command += ["--no-build-isolation", "--ignore-requires-python", "--require-hashes"]
    command += ["--dest", str(target), "--requirement", str(requirement)]
    environment = {**os.environ, "PYTHONPATH": str(tools.parent)}
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            env=environment,
            timeout=_PIP_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise _pip_failed(release, _last_error(error.stderr)) from error
    except (subprocess.TimeoutExpired, OSError) as error:
        raise _pip_failed(release, type(error).__name__) from error
    return target


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["it says nothing"])[-1][:300]


def _pip_failed(release: Release, reason: str) -> InputError:
    archive = f"promptsource-{release.version}.tar.gz"
    return InputError(
        f"pip cannot fetch PromptSource {release.version}: {reason};"
        f" or put {archive} into {cache_folder()} yourself"
    )


def _check_digest(archive: Path, release: Release) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != release.digest:
        raise InputError(
            f"{archive.name} is not the published archive: its SHA-256 is {digest}, not"
            f" {release.digest}; delete it and fetch again"
        )


def unpack_templates(archive: Path, target: Path) -> None:
    """Unpacks the template files of a source archive and nothing else.

    Raises:
        InputError: if the archive is broken, or holds a path that leads elsewhere, or too much.
    """
    target.mkdir()
    total = 0
    try:
        with tarfile.open(archive, "r:gz") as members:
            for count, member in enumerate(members):
                if count >= _MAX_MEMBERS:
                    raise InputError(f"{archive.name}: more than {_MAX_MEMBERS:,} members")
                relative = _template_path(member, archive)
                if relative is None:
                    continue
                total += member.size
                if member.size > _MAX_MEMBER_BYTES or total > _MAX_TOTAL_BYTES:
                    raise InputError(f"{archive.name}: {member.name} is too large")
                source = members.extractfile(member)
                assert source is not None  # it is a regular file
                path = target.joinpath(*relative.parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(path, "xb") as file:
                    shutil.copyfileobj(source, file)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise InputError(f"{archive.name}: a broken archive: {error}; fetch it again") from error


def _template_path(member: tarfile.TarInfo, archive: Path) -> PurePosixPath | None:
    """Where a member belongs below the template folder, or None where it is no template file."""
    path = PurePosixPath(member.name)
    if path.name != "templates.yaml" or path.parts[1:3] != ("promptsource", "templates"):
        return None
    if not member.isreg() or ".." in path.parts or path.is_absolute() or len(path.parts) > 7:
        raise InputError(f"{archive.name}: {member.name!r} is not a plain file below the templates")
    return PurePosixPath(*path.parts[3:])
