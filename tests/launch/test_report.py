"""The stage `report`: a page and a verdict on stdout, bound by gin as recipes do it."""

import dataclasses
import json
import re

import gin
import pytest

from instrux.errors import InputError
from instrux.evaluation import aggregate, bootstrap
from instrux.evaluation.predictions import Prediction, predictions_path, write_predictions
from instrux.evaluation.results import EvaluationResults, TaskResult, write_results
from launch import cli
from launch.report import RunForReport, report
from tests.docs.pages import ROOT, command_of


def _evaluated(folder, *, right):
    """A run of one prompt that gets `right` of twenty examples."""
    evaluation = folder / "eval" / "5"
    made = [
        Prediction(
            example_id=f"rte/default/validation/{i}",
            template="a prompt",
            inputs="Is it so?",
            targets="yes",
            prediction="yes" if i < right else "no",
            choices=("yes", "no"),
            scores=(-1.0, -2.0),
            correct=i < right,
            credit=100.0 * (i < right),
        )
        for i in range(20)
    ]
    write_predictions(predictions_path(evaluation, "rte_a"), made)
    result = TaskResult(
        task="rte_a",
        dataset="rte",
        template="a prompt",
        cluster="nli",
        group="held-out prompts",
        mode="rank",
        metric="accuracy",
        score=5.0 * right,
        interval=bootstrap.wilson(right, 20),
        metrics={"accuracy": 5.0 * right},
        num_examples=20,
        num_without_correct_choice=0,
        num_truncated_inputs=0,
        chance=50.0,
        majority=100.0,
        original_task=True,
        settings_digest="",
        seconds=1.0,
    )
    credits = {"rte_a": [(p.example_id, p.credit) for p in made]}
    write_results(
        evaluation / "results.json",
        EvaluationResults(
            model_dir=str(folder),
            step=5,
            settings={},
            versions={},
            groups=("held-out prompts",),
            tasks=(result,),
            summaries=tuple(aggregate.summaries(aggregate.cells([result], credits))),
        ),
    )
    return str(folder)


@pytest.fixture
def runs(tmp_path):
    return [
        RunForReport(name="tuned [b]", model_dir=_evaluated(tmp_path / "tuned", right=19)),
        RunForReport(
            name="plain",
            model_dir=_evaluated(tmp_path / "plain", right=10),
            role="no instructions",
        ),
    ]


def test_report_writes_the_page_and_tells_its_verdict(runs, tmp_path, capsys):
    made = report(runs=runs, out=str(tmp_path / "out"), title="Words")
    said = capsys.readouterr().out
    assert made.path == tmp_path / "out" / "report.html"
    assert made.written
    assert made.outcome == "gain"
    assert "Words" in made.path.read_text()
    assert "Instruction tuning worked on held-out prompts." in said
    assert "tuned [b]" in said  # a name is not read as markup
    assert "95.0 (" in said and "+45.0 (" in said
    assert f"Report: {made.path}" in said
    assert (tmp_path / "out" / "report_overview.png").exists()
    assert cli.main(["verify", str(made.path)]) == 0
    (tmp_path / "out" / "report_overview.png").write_bytes(b"")
    assert cli.main(["verify", str(made.path)]) == 2


def test_a_page_that_is_there_is_not_written_again(runs, tmp_path, capsys):
    made = report(runs=runs, out=str(tmp_path / "r.html"))
    before = made.path.stat().st_mtime_ns
    again = report(runs=runs, out=str(tmp_path / "r.html"))
    assert not again.written
    assert again.path.stat().st_mtime_ns == before
    assert "complete, skipped" in capsys.readouterr().err


def test_new_results_make_a_new_page(runs, tmp_path):
    report(runs=runs, out=str(tmp_path / "r.html"))
    _evaluated(tmp_path / "tuned", right=15)
    assert report(runs=runs, out=str(tmp_path / "r.html")).written


@pytest.mark.slow
def test_the_page_s_file_lays_two_evaluations_side_by_side(tmp_path, monkeypatch):
    page = "docs/evaluating_any_model.md"
    text = (ROOT / page).read_text()
    (content,) = re.findall(r"^```\n(# report\.gin\n.*?)^```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "report.gin").write_text(content)
    for name, right in (("t0", 19), ("flan_t5", 10)):
        _evaluated(tmp_path / name, right=right)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert cli.main(command_of(page, "instrux run report.gin").words[1:]) == 0
    made = (tmp_path / "both" / "report.html").read_text()
    assert "T0 3B" in made and "Flan-T5 small" in made
    assert "95.0" in made and "50.0" in made


def test_gin_binds_runs_and_report(runs, tmp_path):
    gin.clear_config()
    gin.parse_config(
        f"""
        from __gin__ import dynamic_registration
        from launch import report

        tuned/report.RunForReport.name = "tuned"
        tuned/report.RunForReport.model_dir = {runs[0].model_dir!r}
        plain/report.RunForReport.name = "plain"
        plain/report.RunForReport.model_dir = {runs[1].model_dir!r}
        plain/report.RunForReport.role = "no instructions"
        report.report.runs = [@tuned/report.RunForReport(), @plain/report.RunForReport()]
        report.report.out = {str(tmp_path / "out")!r}
        """
    )
    try:
        made = gin.get_configurable(report)()
    finally:
        gin.clear_config()
    assert made.outcome == "gain"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "plain"}, "two runs are named 'plain'"),
        ({"model_dir": "nowhere"}, "no results under nowhere"),
        ({"step": 6}, r"step 6 was not evaluated; there are \[5\]"),
    ],
)
def test_mistakes_are_told_in_one_line(runs, tmp_path, change, message):
    changed = [dataclasses.replace(runs[0], **change), runs[1]]
    with pytest.raises(InputError, match=message) as caught:
        report(runs=changed, out=str(tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_told(runs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        report(runs=runs, out=str(tmp_path / "file" / "report.html"))


def test_results_of_a_newer_version_are_told(runs, tmp_path):
    path = tmp_path / "tuned" / "eval" / "5" / "results.json"
    content = json.loads(path.read_text()) | {"schema": "instrux.results/99"}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"instrux\.results/99"):
        report(runs=runs, out=str(tmp_path / "out"))
