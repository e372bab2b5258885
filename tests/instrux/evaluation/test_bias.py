"""The bias section: T0's three sets as its model card tabulates them, by arithmetic."""

import pytest

from instrux.evaluation.compare import arms
from instrux.evaluation.report import build_report
from instrux.evaluation.report_bias import bias_tables, gap_interval
from instrux.evaluation.runs import read_run

GROUP = "bias and fairness"


@pytest.fixture
def ranked(made_task):
    """Prompts that are all right (1) or all wrong (0)."""

    def make(dataset, rights, **options):
        return [
            made_task(dataset, f"prompt_{i}", GROUP, right, **options)
            for i, right in enumerate(rights)
        ]

    return make


@pytest.fixture
def wino_bias(ranked):
    """Generated answers, scored by the noun in them."""
    generated = {"mode": "generate", "metric": "contains_target_noun", "chance": None}

    def make(pro, anti, kind="type1", **options):
        return [
            *ranked(f"wino_bias/{kind}_pro", pro, options=generated, **options),
            *ranked(f"wino_bias/{kind}_anti", anti, options=generated, **options),
        ]

    return make


def _tables(*runs):
    return bias_tables(arms([read_run(run) for run in runs]))


def test_mean_and_median_over_prompts_beside_the_cards(make_run, ranked):
    tasks = ranked("crows_pairs", [1, 1, 1, 0]) + ranked("super_glue/axg", [0, 0, 1])
    (table,) = _tables(make_run("mine", tasks))
    assert table.title == "CrowS-Pairs and WinoGender"
    assert table.columns == ("mean", "median", "mean", "median")
    rows = {row.model: row.cells for row in table.rows}
    assert rows["mine"] == ("75.0", "100.0", "33.3", "0.0")
    assert rows["T0 11B"] == ("59.2", "83.8", "84.2", "84.3")  # the model card's
    assert rows["T0 single prompt"] == ("57.6", "69.5", "81.6", "84.6")
    assert len(rows) == 7
    assert table.rows[0].arm == 0 and table.rows[1].arm is None
    assert table.sources == ("model card of bigscience/T0pp",)
    assert "CrowS-Pairs: 4 prompts, 40 rows, chance 50.0" in table.detail


def test_gaps_of_winobias_by_hand(make_run, wino_bias):
    # Mean 75 and 25, median 100 and 0.
    (table,) = _tables(make_run("mine", wino_bias([1, 1, 1, 0], [0, 0, 0, 1])))
    (mine, t0, *_) = table.rows
    assert mine.cells[:2] == ("75.0", "25.0")
    assert mine.cells[2].startswith("50.0 (")
    assert mine.cells[3:5] == ("100.0", "0.0")
    assert mine.cells[5].startswith("100.0 (")
    assert t0.cells == ("68.0", "61.9", "6.0", "71.7", "61.9", "9.8")
    assert table.title == "WinoBias, type 1"
    assert table.groups == (("mean", 3), ("median", 3))


def test_both_types_and_several_models(make_run, wino_bias):
    tasks = wino_bias([1, 1], [0, 0]) + wino_bias([1, 0], [1, 0], "type2")
    first, second = _tables(make_run("a", tasks), make_run("b", wino_bias([0, 0], [1, 1])))
    assert second.title == "WinoBias, type 2"
    assert second.rows[0].cells[2].startswith("0.0 (")
    assert first.rows[1].cells[2] == "−100.0 (−100 to −100)"
    assert second.rows[1].cells == ("–",) * 6


def test_a_sentence_is_drawn_with_both_its_forms(make_run, made_task):
    """The same sentences are right in both forms: whatever is drawn, the gap is nothing."""
    options = {"mode": "generate", "metric": "contains_target_noun", "chance": None}
    tasks = [
        made_task(f"wino_bias/type1_{side}", "p", GROUP, 0.5, options=options)
        for side in ("pro", "anti")
    ]
    run = read_run(make_run("mine", tasks))
    pro, anti = run.cells.values()
    interval = gap_interval([(pro, pro)], "median")
    assert (interval.low, interval.high) == (0, 0)
    wide = gap_interval([(pro, anti)], "median")
    assert wide.low < wide.high


def test_subsets_of_other_rows_have_no_interval(make_run, wino_bias):
    tasks = wino_bias([1], [0])
    tasks[1].num_examples = 30
    (table,) = _tables(make_run("mine", tasks))
    assert table.rows[0].cells[2] == "100.0"


def test_seeds_are_averaged(make_run, ranked):
    (table,) = _tables(
        make_run("a", ranked("crows_pairs", [1, 1]), seed=0),
        make_run("b", ranked("crows_pairs", [0, 0]), seed=1),
    )
    assert table.rows[0].cells == ("50.0", "50.0")


def test_generated_templates_of_crows_pairs_do_not_count(make_run, ranked):
    options = {"mode": "generate", "metric": "sentence_bleu", "chance": None}
    tasks = ranked("crows_pairs", [1, 1])
    tasks += [type(tasks[0])("crows_pairs", "transform", GROUP, 0, options=options)]
    (table,) = _tables(make_run("mine", tasks))
    assert table.rows[0].cells == ("100.0", "100.0")


def test_an_evaluation_of_bias_sets_alone_is_read_beside_the_other(make_run, ranked, made_task):
    run = make_run("mine", [made_task("rte", "p", "held-out prompts", 1)], bias="bias")
    alone = make_run("elsewhere", ranked("crows_pairs", [1, 0]))
    notes = read_run(run).notes
    assert any("no evaluation of bias sets" in note for note in notes)
    from pathlib import Path

    (Path(alone.model_dir) / "eval").rename(Path(run.model_dir) / "bias")
    page = build_report([read_run(run)], title="t").html
    assert "Bias and fairness" in page
    assert "CrowS-Pairs: 2 prompts" in page


def test_without_these_sets_there_is_no_section(make_run, made_task):
    run = make_run("mine", [made_task("rte", "p", "held-out prompts", 1)])
    assert _tables(run) == []
    assert "Bias and fairness" not in build_report([read_run(run)], title="t").html
