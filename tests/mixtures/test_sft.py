"""Prepared sets of demonstrations are tasks and mixtures by their name alone."""

import json

import pytest

import mixtures.sft  # noqa: F401  # registers the families
from instrux.data import registration
from instrux.data.demonstration_files import prepared_path
from instrux.data.manifest import CompletedFolder, Manifest
from instrux.errors import InputError


def test_a_set_is_a_mixture_of_one_task():
    assert registration.mixture_rates("sft_acme") == {"demonstrations_acme": 1}
    task = registration.prompted_task("demonstrations_acme")
    assert task.metrics == ("rougeL",)
    assert set(task.splits) == {"train", "validation", "test"}


def test_its_rows_are_read_from_the_folder_that_the_command_wrote_to(tmp_path, monkeypatch):
    path = prepared_path(tmp_path, "acme", "train")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"id": "a", "prompt": " Sort: b a ", "completion": ""}) + "\n")
    manifest = Manifest(stage="demonstrations", settings={"separator": "\n"}, files=())
    CompletedFolder(path.parent).complete(manifest)
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    task = registration.prompted_task("demonstrations_acme").resolve()
    ((number, row),) = task.source.rows("train")
    example = task.render(row, task.source.example_id("train", number))
    assert example.inputs == " Sort: b a \n"
    with pytest.raises(InputError, match=r"no demonstrations/acme/test\.jsonl"):
        list(task.source.rows("test"))
