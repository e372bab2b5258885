"""Output that is whole, or does not look it."""

import json

import pytest

from instrux.data.files import remove_partial_files, write_atomically
from instrux.data.manifest import (
    CompletedFolder,
    FileRecord,
    Manifest,
    library_versions,
    read_manifest,
    write_json_atomically,
)
from instrux.errors import InputError

SETTINGS = {"seed": 1, "lengths": (512, 114)}


def fill(folder, *, content=b"rows"):
    size, digest = write_atomically(folder.folder / "part-0", [content])
    return Manifest(
        stage="pack",
        settings=SETTINGS,
        files=(FileRecord("part-0", size, digest, 1),),
        counts={"examples": 1},
    )


def test_a_folder_is_complete_only_after_its_manifest_and_marker(tmp_path):
    folder = CompletedFolder(tmp_path / "out")
    assert not folder.is_complete(SETTINGS)
    folder.start()
    manifest = fill(folder)
    assert not folder.is_complete(SETTINGS)
    write_json_atomically(folder.manifest_path, manifest.to_json())
    assert not folder.is_complete(SETTINGS)
    folder.complete(manifest)
    assert folder.is_complete(SETTINGS)
    assert folder.manifest() == Manifest.from_json(json.loads(folder.manifest_path.read_text()))
    assert folder.manifest().files == manifest.files


@pytest.mark.parametrize(
    "settings", [{"seed": 2, "lengths": [512, 114]}, {"seed": 1}, {**SETTINGS, "more": None}]
)
def test_other_settings_ask_for_a_new_run(tmp_path, settings):
    folder = CompletedFolder(tmp_path)
    folder.start()
    folder.complete(fill(folder))
    assert folder.is_complete({"lengths": [512, 114], "seed": 1})
    assert not folder.is_complete(settings)


def test_a_file_that_is_missing_or_cut_is_noticed(tmp_path):
    folder = CompletedFolder(tmp_path)
    folder.start()
    folder.complete(fill(folder))
    (tmp_path / "part-0").write_bytes(b"row")
    assert not folder.is_complete(SETTINGS)
    (tmp_path / "part-0").unlink()
    assert folder.damaged_files(folder.manifest()) == ["part-0"]


def test_starting_again_removes_what_was_there(tmp_path):
    folder = CompletedFolder(tmp_path)
    folder.start()
    folder.complete(fill(folder))
    (tmp_path / ".part-1.0123.partial").write_bytes(b"ro")
    (tmp_path / "notes.txt").write_text("somebody's own")
    folder.start()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_manifest_cannot_name_files_outside_its_folder(tmp_path):
    outside = tmp_path / "precious"
    outside.write_text("keep")
    folder = CompletedFolder(tmp_path / "out")
    folder.start()
    bad = Manifest(stage="pack", settings={}, files=(FileRecord("../precious", 4, "", 1),))
    folder.complete(bad)
    folder.start()
    assert outside.exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, [b"old"])

    def chunks():
        yield b"new"
        raise KeyError("the rows ran out")

    with pytest.raises(KeyError):
        write_atomically(path, chunks())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_digest_is_sha256(tmp_path):
    # `printf abc | sha256sum`
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert write_atomically(tmp_path / "abc", [b"a", b"bc"]) == (3, digest)


def test_only_partial_files_of_the_prefix_go(tmp_path):
    for name in (".train.0.ab.partial", ".validation.0.ab.partial", "train.0"):
        (tmp_path / name).touch()
    assert remove_partial_files(tmp_path, prefix="train") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".validation.0.ab.partial",
        "train.0",
    ]
    assert remove_partial_files(tmp_path / "absent") == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"stage": "pack"}', '{"files": [1]}'])
def test_a_damaged_manifest_is_told_by_name(tmp_path, text):
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json: not a manifest"):
        read_manifest(path)
    assert not CompletedFolder(tmp_path).has_all_files()


def test_versions_name_python_and_the_packages():
    versions = library_versions("jinja2", "no-such-package")
    assert set(versions) == {"python", "instrux", "jinja2", "no-such-package"}
    assert versions["no-such-package"] == "not installed"
