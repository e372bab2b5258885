"""The studio in a browser: a dot's predictions, growing curves, a template written, a label given."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from instrux.evaluation.predictions import Prediction, predictions_path, write_predictions
from instrux.evaluation.results import EvaluationResults, Interval, TaskResult, write_results
from instrux.prompts import TemplateCollection
from instrux.studio.label import labellers, study
from instrux.studio.label.importing import import_items
from instrux.studio.label.study import StudySettings

CHROMIUM = "/usr/bin/chromium"
STICKING_OUT = "document.documentElement.scrollWidth > innerWidth"


def _prediction(number, right):
    said = "Yes" if right else "No"
    inputs = f"Premise {number}. Does it follow?"
    credit = 100.0 if right else 0.0
    return Prediction(f"rte/{number}", "follows", inputs, "Yes", said, None, None, right, credit)


def _run(folder, right):
    place = folder / "eval" / "5"
    write_predictions(
        predictions_path(place, "rte_follows"), (_prediction(n, n < right) for n in range(60))
    )
    score = right / 0.6
    task = TaskResult(
        task="rte_follows", dataset="rte", template="follows", cluster="nli", group="held-out",
        mode="generate", metric="accuracy", score=score, interval=Interval(score - 9, score + 9),
        metrics={}, num_examples=60, num_without_correct_choice=0, num_truncated_inputs=0,
        chance=None, majority=50.0, original_task=True, settings_digest="", seconds=1.0,
    )  # fmt: skip
    results = EvaluationResults(
        model_dir=str(folder), step=5, settings={}, versions={}, groups=("held-out",),
        tasks=(task,), summaries=(),
    )  # fmt: skip
    write_results(place / "results.json", results)
    lines = [{"step": step, "loss": 4 / step} for step in range(1, 6)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _study(folder):
    """A study of one prompt and two systems; the token of its one labeller lies beside it."""
    outputs = {"tuned": "A short letter.", "plain": "A long letter."}
    items = folder / "items.jsonl"
    items.write_text(json.dumps({"id": "p", "prompt": "Write.", "outputs": outputs}))
    study.create(folder / "study.db", StudySettings())
    with study.opened(folder / "study.db", write=True) as database:
        import_items(database, prompt_files=[items])
        (folder / "token").write_text(labellers.add(database, name="anna"))


@pytest.fixture
def link(tmp_path):
    """The link that `instrux studio` prints, over two runs and a folder to write in."""
    _run(tmp_path / "tuned", 45)
    _run(tmp_path / "plain", 20)
    release = tmp_path / "release" / "shop" / "templates.yaml"
    release.parent.mkdir(parents=True)
    release.write_text("templates: [{name: ask, jinja: '{{q}} ||| {{a}}'}]")
    arguments = ["--runs", tmp_path, "--templates", tmp_path / "release"]
    arguments += ["--own_templates", tmp_path / "own", "--db", tmp_path / "study.db", "--port", "0"]
    _study(tmp_path)
    command = [sys.executable, "-m", "launch.cli", "studio", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium")
def test_a_reader_finds_predictions_and_a_writer_a_template(link, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    faults = []
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.set_default_timeout(20_000)  # the machine may be busy
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        sync_api.expect.set_options(timeout=20_000)
        page.goto(link)
        try:
            _read(page, sync_api.expect, tmp_path)
            _write(page, sync_api.expect, tmp_path)
            _label(browser, sync_api.expect, link.partition("?")[0], tmp_path)
        finally:
            browser.close()
    assert faults == []


def _read(page, expect, folder):
    assert "token" not in page.url
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("link", name="tuned").click()
    loss = page.locator("figure", has_text="loss")
    expect(loss).to_contain_text("0.8")  # 4 / 5
    with (folder / "tuned" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "loss": 0.125}\n')
    expect(loss).to_contain_text("0.125")
    page.get_by_role("link", name="Evaluations", exact=True).click()
    for name in ("plain", "tuned"):
        page.get_by_label(f"Show {name}/eval/5").check()
    page.get_by_role("button", name="Figure of the ticked ones").click()
    dot = page.locator('svg a[aria-label="follows: 75.0, tuned/eval/5"]')
    dot.focus()  # dots are reached by keyboard
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("follows")
    page.get_by_label("Show").select_option("wrong")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".predictions > li")).to_have_count(15)
    expect(page.locator(".predictions > li").first).to_contain_text("Premise 45.")
    page.get_by_role("button", name="Same rows side by side").click()
    page.get_by_label("Show").select_option("first")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("main")).to_contain_text("1–25 of 25 rows")  # 20 to 44
    page.set_viewport_size({"width": 400, "height": 800})
    assert not page.evaluate(STICKING_OUT)
    page.set_viewport_size({"width": 1280, "height": 800})


def _write(page, expect, folder):
    page.get_by_role("link", name="Templates").click()
    page.get_by_role("link", name="ask").click()
    page.get_by_role("link", name="Copy to your folder").click()
    page.get_by_label("A row as JSON").fill('{"q": "Open on Sunday?", "a": "Yes"}')
    expect(page.locator("#preview-inputs")).to_have_text("Open on Sunday?")
    page.get_by_label("Template Jinja").fill("{{ q }} Say it. ||| {{ a")
    expect(page.locator("#preview-problem")).to_contain_text("end of")
    page.get_by_label("Template Jinja").fill("{{ q }} Say it. ||| {{ a }}")
    expect(page.locator("#preview-inputs")).to_have_text("Open on Sunday? Say it.")
    page.get_by_label("Name").fill("said")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("said")
    template = TemplateCollection.load(folder / "own")["shop"]["said"]
    assert template.jinja == "{{ q }} Say it. ||| {{ a }}"


def _label(browser, expect, address, folder):
    """A labeller without the link's token signs in, keeps to the labelling, and answers."""
    page = browser.new_page()
    page.set_default_timeout(20_000)
    page.goto(f"{address}label")
    page.get_by_label("Your name").fill("anna")
    page.get_by_label("Your token").fill((folder / "token").read_text())
    page.get_by_role("button", name="Sign in").click()
    for name in ("Runs", "Templates"):
        expect(page.get_by_role("link", name=name)).to_have_count(0)
    page.get_by_role("link", name="Instrux").click()
    expect(page.locator("h1")).to_have_text("Hello, anna")
    page.get_by_role("link", name="Begin").click()
    page.wait_for_selector("fieldset.current")
    bar, send = page.locator("div.bar"), page.get_by_role("button", name="Send")
    assert bar.bounding_box()["width"] > 800  # of the window's 1,280
    skip = page.get_by_role("link", name="Skip for now").bounding_box()
    assert skip["x"] > send.bounding_box()["x"] + send.bounding_box()["width"]
    for key in ("6", "Shift+N", "2", "Shift+N", "1", "2", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("main")).to_contain_text("That was the last one")
    page.close()
