"""The pages' commands that serve until they are stopped: each is started, asked for its page, and stopped."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from instrux.studio.label import labellers, study
from instrux.studio.label.importing import import_items
from instrux.studio.label.study import StudySettings
from launch.entry import INTERRUPTED_STATUS
from tests.docs.pages import ROOT, command_of

SERVERS = (
    ("docs/studio.md", "instrux studio --runs"),
    ("docs/studio.md", "instrux studio --own_templates"),
    ("docs/labelling.md", "instrux studio label          --db"),
)


def _study(folder: Path) -> None:
    """A study of one prompt and two systems."""
    items = folder / "items.jsonl"
    outputs = {"sft": "A short letter.", "flan": "A long letter."}
    items.write_text(json.dumps({"id": "p", "prompt": "Write.", "outputs": outputs}))
    study.create(folder / "study.db", StudySettings())
    with study.opened(folder / "study.db", write=True) as database:
        import_items(database, prompt_files=[items])
        labellers.add(database, name="anna")


@pytest.mark.slow
@pytest.mark.parametrize(("page", "begins"), SERVERS)
def test_a_server_of_a_page_answers_until_it_is_stopped(page, begins, tmp_path):
    (tmp_path / "quickstart" / "data").mkdir(parents=True)
    _study(tmp_path)
    words = [*command_of(page, begins).words[1:], "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.cli", *words],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(link, timeout=60) as answer:  # the link's token becomes a cookie
            assert answer.status == 200
            assert b"<!doctype html>" in answer.read().lower()
        process.send_signal(signal.SIGINT)
        _, screen = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == INTERRUPTED_STATUS, screen
    assert "Traceback" not in screen
