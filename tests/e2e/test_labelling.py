"""Labelling from nothing to a table: the commands, a server that is killed, and a real browser."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from instrux.evaluation.label_records import read_records
from launch.cli import main

SYSTEMS = {"sft": "A short answer.", "gpt": "<b>An answer</b> that rambles. " * 60}
STICKING_OUT = """[...document.querySelectorAll("main *, header *")]
  .filter((element) => element.getBoundingClientRect().right > 361)
  .map((element) => `${element.tagName} ${element.className}`)"""
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


@pytest.fixture
def prepared(tmp_path, capsys):
    """A study of three prompts and two systems, made by the commands; the file and a token."""
    files = []
    for system, text in SYSTEMS.items():
        file = tmp_path / f"{system}.jsonl"
        lines = [{"id": f"p{i}", "prompt": f"Say {i}.", "output": f"{text} {i}"} for i in range(3)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        files += ["--outputs", f"{system}={file}"]
    db = str(tmp_path / "study.db")
    assert main(["studio", "label", "create", "--db", db, "--share", "1"]) == 0
    assert main(["studio", "label", "import", "--db", db, *files]) == 0
    assert "3 prompts, 6 outputs, 3 tasks" in capsys.readouterr().out
    assert main(["evaluate", "--labels", db]) == 2
    assert "nobody has answered yet" in capsys.readouterr().err
    assert main(["studio", "label", "labeller", "--db", db, "anna"]) == 0
    return db, capsys.readouterr().out.strip()


@contextlib.contextmanager
def _server(db, port=0):
    """The server as a user starts it; gives the process and its address."""
    command = [sys.executable, "-m", "launch.cli", "studio", "label", "--db", db]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def _kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def _fields(html):
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html))
    options = re.findall(r'type="radio" name="(\w+)" value="(\w+)"', html)
    return fields | {name: value for name, value in reversed(options)}


def test_what_was_sent_or_typed_outlives_a_killed_server(prepared, tmp_path, capsys):
    db, token = prepared
    with _server(db) as (process, address), httpx.Client(base_url=address) as client:
        client.post("label/sign-in", data={"name": "anna", "token": token})
        first = client.get("label/next", follow_redirects=True)
        sent = client.post(first.url, data=_fields(first.text))
        place = sent.headers["location"]
        second = _fields(client.get(place).text)
        assert client.post(f"{place}/draft", data=second | {"notes": "half"}).status_code == 204
        _kill(process)
    with _server(db, port=httpx.URL(address).port) as (_, again):
        assert again == address
        with httpx.Client(base_url=again, cookies=client.cookies) as other:
            assert "<strong>1</strong> of <strong>3</strong>" in other.get("label").text
            page = other.get("label/next", follow_redirects=True)
            assert str(page.url).endswith(place) and "half</textarea>" in page.text
            assert f'name="view" value="{second["view"]}"' in page.text
    out = tmp_path / "answers.jsonl"
    assert main(["studio", "label", "export", "--db", db, "--out", str(out)]) == 0
    assert len(read_records([out])) == 1
    capsys.readouterr()
    for labels in (db, str(out)):
        folder = str(tmp_path / "evaluation")
        assert main(["evaluate", "--labels", labels, "--json", "--out", folder]) == 0
        assert json.loads(capsys.readouterr().out)["overall"]["num_answers"] == 1


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium")
def test_a_labeller_works_by_keyboard_while_the_server_dies_under_them(prepared, tmp_path, capsys):
    sync_api = pytest.importorskip("playwright.sync_api")
    db, token = prepared
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright, contextlib.ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        stack.callback(browser.close)
        page = browser.new_context(reduced_motion="reduce").new_page()
        page.set_default_timeout(15_000)
        expect, saved, faults = sync_api.expect, page.locator("#saved"), []
        expect.set_options(timeout=20_000)  # the machine may be busy
        page.on("pageerror", lambda error: faults.append(str(error)))
        process, address = stack.enter_context(_server(db))
        _sign_in_by_keyboard(page, expect, address, token)
        task = page.url
        # Both outputs: their quality, and no to all else; then the ranks, tied.
        for key in ("6", "Shift+N", "2", "y", "Shift+N", "1"):
            page.keyboard.press(key)
        expect(saved).to_contain_text("saved")
        _kill(process)
        page.keyboard.press("1")
        expect(saved).to_contain_text("not answer")
        page.keyboard.press("Enter")
        expect(saved).to_contain_text("Not sent")
        assert page.url == task
        stack.enter_context(_server(db, port=httpx.URL(address).port))
        expect(saved).to_contain_text("saved")
        # Signed out, and in again in another tab: the page goes on by itself.
        other = page.context.new_page()
        other.goto(f"{address}label")
        other.get_by_role("button", name="Sign out").click()
        page.keyboard.press("1")
        expect(saved).to_contain_text("signed out")
        _sign_in_by_keyboard(other, expect, address, token)
        other.close()
        expect(saved).to_contain_text("saved")
        page.keyboard.press("t")
        page.keyboard.type("typed at the end 1 y")
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: url != task)
        assert page.locator(".progress span").inner_text() == "1 of 3"
        # An incomplete answer is not sent, and the page says where to go on.
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        assert page.locator("fieldset.lacks").count() == 25
        page.goto(task)
        assert page.locator("input:checked").count() == 26
        assert page.locator("#notes").input_value() == "typed at the end 1 y"
        # Nothing sticks out to the side of a narrow window.
        page.set_viewport_size({"width": 360, "height": 700})
        assert page.evaluate(STICKING_OUT) == []
        assert faults == []
    out = tmp_path / "answers.jsonl"
    assert main(["studio", "label", "export", "--db", db, "--out", str(out)]) == 0
    (record,) = read_records([out])
    assert [rating.overall for rating in record.ratings] == [6, 2]
    assert record.ratings[1].flags["fails_instruction"] == "yes"
    assert set(record.ratings[0].flags.values()) == {"no"}
    assert record.ranking == (("gpt", "sft"),)
    assert record.notes == "typed at the end 1 y"


def _sign_in_by_keyboard(page, expect, address, token):
    page.goto(address)
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.type("anna")
    page.keyboard.press("Tab")
    page.keyboard.type(token)
    page.keyboard.press("Enter")
    page.wait_for_url("**/label")
    expect(page.get_by_role("link", name="Begin")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_selector("fieldset.current")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["label"], "name the study by --db"),
        (["label", "--db", "absent.db"], "no such study"),
        (["label", "import", "--db", "absent.db"], "nothing to import"),
        (["label", "import", "--db", "absent.db", "--outputs", "x"], "write SYSTEM=FILE"),
        (["label", "create", "--db", "new.db", "--mode", "quiz"], "--mode should be one of"),
        (["--runs", "absent"], "no such folder"),
        (["label", "--db", "absent.db", "--host", "192.0.2.1"], "--public"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, wanted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["studio", *arguments]) == 2
    captured = capsys.readouterr()
    assert wanted in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--labels", "absent.jsonl"], "absent.jsonl: cannot be read"),
        (["--labels", "a.jsonl", "--hf", "folder"], "--labels takes no --hf"),
        (["--baseline", "sft"], "--baseline goes with --labels"),
    ],
)
def test_mistakes_of_evaluate_labels_are_told_in_one_line(arguments, wanted, capsys):
    assert main(["evaluate", *arguments]) == 2
    captured = capsys.readouterr()
    assert wanted in captured.err and captured.err.count("\n") == 1
