import hashlib
import io
import json
import tarfile

import pytest

from instrux.data import natural_instructions_release as release
from instrux.data.natural_instructions_files import find_task_file
from instrux.errors import InputError

TASK = json.dumps({"Definition": ["x"], "Instances": [{"input": "i", "output": ["o"]}]}).encode()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INSTRUX_MIRROR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path):
    return _archive(tmp_path / "v2.8.tar.gz", "task001_a\ntask002_b\n")


def _archive(path, train_tasks):
    members = {
        "ni-2.8/tasks/task001_a.json": TASK,
        "ni-2.8/tasks/task002_b.json": TASK,
        "ni-2.8/splits/default/train_tasks.txt": train_tasks.encode(),
    }
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def test_a_release_is_fetched_once_and_then_found(archive, monkeypatch, capsys, cache):
    known = release.Release("v2.8", archive.as_uri())
    monkeypatch.setattr(release, "RELEASES", {"v2.8": known})
    folder = release.fetch_natural_instructions()
    assert folder == cache / "natural-instructions-v2.8"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert json.loads((folder / release.RECORD).read_text()) == {
        "release": "v2.8",
        "sha256": digest,
        "tasks": 2,
    }
    assert digest in capsys.readouterr().err
    assert find_task_file(["task002_b"]) == folder / "tasks" / "task002_b.json"
    archive.unlink()
    assert release.fetch_natural_instructions() == folder
    assert {path.name for path in cache.iterdir()} == {folder.name}


def test_a_digest_is_held_against_the_archive(archive):
    with pytest.raises(InputError, match=r"its SHA-256 is .*, not 00ff"):
        release.fetch_natural_instructions(source=archive, sha256="00FF")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert release.fetch_natural_instructions(source=archive, sha256=digest.upper()).is_dir()


def test_what_is_not_whole_is_refused_and_leaves_nothing(tmp_path, cache):
    part = _archive(tmp_path / "part.tar.gz", "task001_a\ntask003_c\n")
    with pytest.raises(InputError, match=r"1 tasks of its own split lists .* such as task003_c"):
        release.fetch_natural_instructions(source=part)
    assert list(cache.iterdir()) == []


def test_what_cannot_be_had_is_told(tmp_path, monkeypatch):
    known = release.Release("v2.8", (tmp_path / "absent.tar.gz").as_uri())
    monkeypatch.setattr(release, "RELEASES", {"v2.8": known})
    with pytest.raises(InputError, match=r"cannot fetch Natural Instructions v2\.8 from file:"):
        release.fetch_natural_instructions()
    with pytest.raises(InputError, match=r"Did you mean 'v2\.8'"):
        release.fetch_natural_instructions("v2.9")
    with pytest.raises(InputError, match="no such archive"):
        release.fetch_natural_instructions(source=tmp_path)
