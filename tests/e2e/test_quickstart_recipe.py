"""The quickstart as its pages have it, cut down, from raw rows to the report and what comes after."""

import re
import shutil

import pytest

from launch import cli
from tests.docs.pages import command_of

pytestmark = pytest.mark.slow

SMALL = (
    "--gin.TRAIN_STEPS=12", "--gin.NUM_EXAMPLES=600", "--gin.MAX_EXAMPLES=4",
    "--gin.train.train.log_every_steps=4", "--gin.schedules.linear_decay.warmup_steps=2",
)  # fmt: skip


def words(begins, page="docs/tutorial.md"):
    return command_of(page, f".venv/bin/instrux {begins}").words[1:]


@pytest.fixture(scope="module")
def made(tmp_path_factory, one_process):
    """The folder in which the quickstart was run, and what it wrote."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")  # and no older emitters
        ended = one_process(*words("quickstart"), *SMALL, folder=folder)
    assert ended.returncode == 0, ended.stderr
    return folder, ended


@pytest.fixture
def copied(made, tmp_path):
    """A folder in which a copy of what the quickstart made goes by another name."""

    def copy(name):
        shutil.copytree(made[0] / "quickstart", tmp_path / name)
        return tmp_path

    return copy


def test_the_quickstart_goes_from_words_to_a_report(made, results, losses):
    folder, ended = made
    out = folder / "quickstart"
    assert "All stages done" in ended.stderr
    assert "quickstart/report.html" in ended.stdout
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for name in ("instructions", "no_instructions"):
        logged = losses(out / name)
        assert len(logged) == 4  # the first step, and every fourth
        assert logged[-1] < logged[0]
        assert results(out / name)["tasks"]


def test_what_the_quickstart_made_is_led_back_to_rows_and_checked(made, monkeypatch, capsys):
    monkeypatch.chdir(made[0])
    assert cli.main(words("show")) == 0
    assert re.search(r"; (\d+) rendered: \1 same$", capsys.readouterr().out, re.MULTILINE)
    assert cli.main(words("verify")) == 0
    checked = capsys.readouterr().out
    assert "1 report, 2 evaluation, 2 run, 2 packed" in checked and "all as written" in checked


def test_a_second_quickstart_skips_what_is_complete(copied, one_process):
    folder = copied("first")
    data = folder / "first" / "data"
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    ended = one_process(*words("quickstart", "docs/first_minutes.md"), *SMALL, folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert "All stages done" in ended.stderr
    assert "skipped" in ended.stderr
    assert "step 1 of" not in ended.stderr
    assert before
    assert before == {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}


def test_a_longer_run_goes_on_from_a_shorter_one(copied, one_process, losses):
    folder = copied("longer")
    one = "--gin.recipe.Recipe.stages=('instructions/pack', 'instructions/train')"
    longer = (*words("run quickstart.gin"), *SMALL, "--gin.TRAIN_STEPS=16", one)
    ended = one_process(*longer, folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert "step 12" in ended.stderr  # where it goes on
    assert len(losses(folder / "longer" / "instructions")) == 5


def test_the_number_of_wordings_is_asked_about_by_one_of_its_nine_models(
    made, tmp_path, one_process, results
):
    prompts = tmp_path / "prompts"
    shutil.copytree(made[0] / "quickstart" / "data", prompts / "data")
    stages = (
        "training/render",
        "vocab",
        "p1/pack",
        "p1/seed0/train",
        "p1/seed0/evaluate",
        "report",
    )
    one = (
        f"--gin.recipe.Recipe.stages={stages!r}",
        "--gin.report.report.runs=[@p1/seed0/runs.RunForReport()]",
    )
    ended = one_process(*words("run quickstart_prompts.gin"), *SMALL, *one, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert results(prompts / "p1_seed0")["tasks"]
    assert "Prompts a task" in (prompts / "report.html").read_text()
