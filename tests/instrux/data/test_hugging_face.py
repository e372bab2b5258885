"""Datasets of a hub, through the real libraries: read, cached, refused."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("datasets")
pytest.importorskip("huggingface_hub")

from instrux.data import hugging_face
from instrux.data.sources import HuggingFaceSource
from instrux.errors import InputError

PROGRAM = Path(__file__).with_name("local_hub.py")


@pytest.fixture(scope="module")
def report():
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "stderr": done.stderr}


def test_a_conversion_is_read_under_the_old_name_with_the_old_fields(report):
    found = report["converted"]
    assert found["splits"] == ["test", "train"]
    assert found["columns"] == ["text", "label-coarse"]
    assert found["rows"] == [{"text": f"question {n}", "label-coarse": 2 - n} for n in range(3)]


def test_a_commit_of_the_conversion_can_be_pinned(report):
    assert report["commit"]["rows"] == [{"text": "question 0", "coarse_label": 0}]


def test_a_repository_with_a_script_only_is_read_from_its_conversion(report):
    assert report["script"]["rows"] == [{"text": "question 0", "coarse_label": 0}]
    assert (
        "acme/questions: holds a loading script only; reading its Parquet conversion"
        in (report["stderr"])
    )


def test_a_dataset_that_is_not_there_is_told(report):
    error = report["absent"]["error"]
    assert "'acme/absent' cannot be had from the Hugging Face hub" in error
    assert "doesn't exist" in error and "INSTRUX_MIRROR=<mirror>" in error


def test_without_the_hub_its_cache_is_read_and_is_the_same_data(report):
    assert report["cached"] == report["converted"]


def test_without_the_hub_and_its_cache_the_hub_is_to_blame(report):
    assert "http://127.0.0.1:9 cannot be reached: " in report["unreachable"]["error"]


def test_many_datasets_ask_once_whether_the_hub_is_there(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "monotonic", lambda: 600.0)  # within one minute
    hugging_face._unreachable.cache_clear()
    for name in ("one", "two", "three"):
        with pytest.raises(InputError) as caught:
            HuggingFaceSource(f"acme/{name}").shards("train")
        assert f"<mirror>/acme/{name}/default" in str(caught.value)
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert hugging_face._unreachable.cache_info().misses == 1
    hugging_face._unreachable.cache_clear()
