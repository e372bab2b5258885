import io
import json
import tarfile
import zipfile

import pytest

from instrux.data import natural_instructions_files as files
from instrux.errors import InputError

TASK = json.dumps({"Definition": ["x"], "Instances": [{"input": "i", "output": ["o"]}]}).encode()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INSTRUX_MIRROR", raising=False)
    return tmp_path / "cache"


def _tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def _zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


MEMBERS = {
    "natural-instructions-2.8/README.md": b"read me",
    "natural-instructions-2.8/tasks/task001_a.json": TASK,
    "natural-instructions-2.8/tasks/task002_b-c.1.json": TASK,
    "natural-instructions-2.8/tasks/README.md": b"no task",
    "natural-instructions-2.8/splits/default/train_tasks.txt": b"task001_a\n",
}


@pytest.mark.parametrize("make", [_tar, _zip])
def test_an_archive_gives_its_tasks_and_splits(tmp_path, make, cache):
    path = make(tmp_path / ("a.tar.gz" if make is _tar else "a.zip"), MEMBERS)
    found = files.task_files(path)
    assert [each.name for each in found] == ["task001_a.json", "task002_b-c.1.json"]
    assert files.find_task_file(["task001_a"], str(path)).read_bytes() == TASK
    splits = files.split_folder(path)
    assert (splits / "default" / "train_tasks.txt").read_text() == "task001_a\n"
    assert {each.name for each in files.unpacked(path).rglob("*") if each.is_file()} == {
        "task001_a.json",
        "task002_b-c.1.json",
        "train_tasks.txt",
    }


def test_nothing_is_written_outside_the_target(tmp_path, cache):
    hostile = {
        "../../tasks/task003_up.json": TASK,
        "/abs/tasks/task004_absolute.json": TASK,
        "x/tasks/../tasks/task005_dots.json": TASK,
        "x\\..\\tasks\\task006_back.json": TASK,
        "x/tasks/task007_link.json": None,
        "x/tasks/task008_ok.json": TASK,
        "x/tasks/sub/task009_deep.json": TASK,
    }
    path = _tar(tmp_path / "hostile.tar.gz", hostile)
    before = {each for each in tmp_path.rglob("*") if cache not in each.parents}
    folder = files.unpacked(path)
    names = {str(each.relative_to(folder)) for each in folder.rglob("*.json")}
    assert names == {"tasks/task004_absolute.json", "tasks/task008_ok.json"}
    assert not any(each.is_symlink() for each in folder.rglob("*"))
    assert {e for e in tmp_path.rglob("*") if cache not in e.parents} - {cache} == before


@pytest.mark.parametrize("make", [_tar, _zip])
def test_a_member_that_unpacks_too_large_is_refused(tmp_path, make, monkeypatch, cache):
    monkeypatch.setattr(files, "_MAX_MEMBER_BYTES", 1 << 20)
    path = make(
        tmp_path / ("bomb.tar.gz" if make is _tar else "bomb.zip"),
        {"x/tasks/task001_bomb.json": b"\0" * (3 << 20)},
    )
    with pytest.raises(InputError, match=r"task001_bomb\.json: larger than 1 MB"):
        files.task_files(path)
    assert not list((cache / "natural_instructions_archives").glob("*/"))


def test_broken_archives_are_told_in_one_line(tmp_path):
    whole = _tar(tmp_path / "whole.tar.gz", MEMBERS).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "none.zip").write_bytes(b"no archive")
    (tmp_path / "empty.zip").write_bytes(_zip(tmp_path / "e.zip", {"README": b"x"}).read_bytes())
    twice = {"a/tasks/task001_a.json": TASK, "b/tasks/task001_a.json": TASK}
    _tar(tmp_path / "twice.tar.gz", twice)
    for name, complaint in {
        "cut.tar.gz": "a broken archive",
        "none.zip": "a broken archive",
        "empty.zip": "no task file",
        "twice.tar.gz": "two members are task001_a",
    }.items():
        with pytest.raises(InputError, match=complaint) as caught:
            files.task_files(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_mirrors_are_searched_in_order_before_the_cache(tmp_path, monkeypatch, cache):
    first, second = tmp_path / "first", tmp_path / "second"
    fetched = files.release_folder("v2.8") / "tasks"
    for folder in (first, second / "natural_instructions" / "tasks", fetched):
        folder.mkdir(parents=True)
        (folder / "task002_b.json").write_bytes(TASK)
    (fetched / "task003_c.json").write_bytes(TASK)
    (first / "task001_a.json").write_bytes(TASK)
    monkeypatch.setenv("INSTRUX_MIRROR", f"{second}:{first}")
    assert files.find_task_file(["task001_a"]).parent == first
    assert files.find_task_file(["task002_b"]).parent == second / "natural_instructions" / "tasks"
    assert files.find_task_file(["task003_c"]).parent == fetched
    assert files.find_task_file(["task009_new", "task003_c"]).parent == fetched


def test_a_single_file_is_a_place(tmp_path):
    path = tmp_path / "task001_a.json"
    path.write_bytes(TASK)
    assert files.find_task_file(["task001_a"], str(path)) == path
    assert files.task_files(path) == [path]
    with pytest.raises(InputError, match=r"no task file task002_b\.json"):
        files.find_task_file(["task002_b"], str(path))


def test_what_is_no_place_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for name in ("notes.txt", "absent"):
        with pytest.raises(InputError, match="not a folder, an archive"):
            files.task_files(tmp_path / name)
    with pytest.raises(InputError, match="no task files"):
        files.task_files(tmp_path)
    with pytest.raises(InputError, match="instrux fetch natural-instructions"):
        files.find_task_file(["task001_a"])
