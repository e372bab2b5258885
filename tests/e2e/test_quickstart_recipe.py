"""The quickstart as its pages have it, cut down, from raw rows to the report and what comes after."""

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


def test_the_quickstart_goes_from_words_to_a_report_and_then_skips(
    tmp_path, instrux, one_process, results, losses, monkeypatch, capsys
):
    out = tmp_path / "quickstart"
    first = instrux(*words("quickstart"), *SMALL, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "All stages done" in first.stderr
    assert "quickstart/report.html" in first.stdout
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for name in ("instructions", "no_instructions"):
        logged = losses(out / name)
        assert len(logged) == 4  # the first step, and every fourth
        assert logged[-1] < logged[0]
        assert results(out / name)["tasks"]

    made = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (tmp_path / "first").symlink_to(out)
    second = instrux(*words("quickstart", "docs/first_minutes.md"), *SMALL, folder=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "skipped" in second.stderr
    assert "step 1 of" not in second.stderr
    data = {path for path in made if "data" in path.relative_to(out).parts[:1]}
    assert data
    assert {path: path.read_bytes() for path in data} == {path: made[path] for path in data}

    monkeypatch.chdir(tmp_path)
    assert cli.main(words("show")) == 0
    assert "lexicon" in capsys.readouterr().out
    assert cli.main(words("verify")) == 0
    assert "all as written" in capsys.readouterr().out

    # Longer: the same recipe goes on from what is there.
    (tmp_path / "longer").symlink_to(out)
    longer = (*words("run quickstart.gin"), *SMALL, "--gin.TRAIN_STEPS=14")
    on = one_process(*longer, folder=tmp_path)
    assert on.returncode == 0, on.stderr
    assert "All stages done" in on.stderr

    # Other wordings: one of the nine models.
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "data").symlink_to(out / "data")
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
    asked = one_process(*words("run quickstart_prompts.gin"), *SMALL, *one, folder=tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert results(tmp_path / "prompts" / "p1_seed0")["tasks"]
    assert "Prompts a task" in (tmp_path / "prompts" / "report.html").read_text()
