"""A base model and what mixtures made of it: what is claimed, and what the page and the table hold."""

import csv

import pytest

from instrux.errors import InputError
from instrux.evaluation.metrics import METRICS
from instrux.evaluation.mixture_comparison import compare_mixtures
from instrux.evaluation.mixture_report import write_mixture_report
from instrux.evaluation.runs import read_run

GROUP = "held-out task types"


def _tasks(made_task, right):
    # Few rows and three prompts a dataset, as the recipe has them.
    return [
        made_task(dataset, prompt, GROUP, right, num_examples=60)
        for dataset in ("rte", "copa")
        for prompt in ("a", "b", "c")
    ]


@pytest.fixture
def compared(make_run, made_task):
    base, good, plain, poor = (
        read_run(make_run(name, _tasks(made_task, right), draw_seed=seed))
        for seed, (name, right) in enumerate(
            [("base", 0.5), ("FLAN", 0.95), ("T0", 0.5), ("other", 0.1)]
        )
    )
    return compare_mixtures(base, [good, plain, poor], batch_size=8)


def test_gains_are_over_the_base_and_claimed_by_their_intervals(compared):
    (row,) = compared.groups
    assert (row.label, row.metric, row.baseline) == (GROUP, "accuracy", 50.0)
    base, good, plain, poor = row.cells
    assert base.gain is None and base.mark == " "
    for cell in (good, plain, poor):
        assert cell.gain.value == pytest.approx(cell.score.value - base.score.value)
        assert cell.gain.interval.low <= cell.gain.value <= cell.gain.interval.high
    assert (good.mark, plain.mark, poor.mark) == ("+", " ", "-")
    assert compared.sentences == (
        f"{GROUP} (accuracy): above the base: FLAN; below it: other; above what no understanding gets"
        " (50.0): FLAN; the highest of the mixtures, FLAN, is above T0 and other.",
    )
    assert [each.label for each in compared.datasets[0]] == ["rte", "copa"]


def test_equal_mixtures_are_not_told_apart(make_run, made_task):
    runs = [
        read_run(make_run(name, _tasks(made_task, 0.5), draw_seed=seed))
        for seed, name in enumerate(("base", "a", "b"))
    ]
    (sentence,) = compare_mixtures(runs[0], runs[1:], batch_size=8).sentences
    assert "no mixture is told apart from the base" in sentence
    assert "not told apart from" in sentence.partition(";")[2]


def test_the_page_the_figure_and_the_table(compared, tmp_path):
    page = write_mixture_report(tmp_path / "out", compared, title="A & B")
    html = page.read_text()
    assert "A &amp; B" in html and compared.sentences[0] in html
    assert "<script" not in html
    assert (page.parent / "compare.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((page.parent / "compare.csv").open()))
    assert len(rows) == 3 * 4  # the group and its two datasets, four models
    first = rows[1]
    assert (first["group"], first["dataset"], first["model"]) == (GROUP, "", "FLAN")
    assert float(first["gain_over_base"]) == pytest.approx(
        compared.groups[0].cells[1].gain.value, abs=1e-3
    )
    assert rows[0]["gain_over_base"] == ""


def test_runs_must_share_prompts(make_run, made_task):
    base = read_run(make_run("base", [made_task("rte", "a", GROUP, 0.5)]))
    other = read_run(make_run("other", [made_task("copa", "a", GROUP, 0.5)]))
    with pytest.raises(InputError, match="no prompt that all runs were evaluated on"):
        compare_mixtures(base, [other], batch_size=8)


def test_distinct_pairs_of_words():
    metric = METRICS["distinct_2"]
    # Of the pairs (the, cat), (cat, the), (the, cat) two are different.
    assert metric.credit("the cat the cat", [""]) == pytest.approx(200 / 3)
    assert metric.credit("One two three", [""]) == 100
    assert metric.credit("one", [""]) == 0
