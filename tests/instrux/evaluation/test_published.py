"""The table of published figures: whole, sourced, and in the names that results have."""

import csv
from pathlib import Path

import pytest

from instrux.evaluation import published
from instrux.evaluation.published import T0_HELD_OUT, published_figures

UNREAD = "recalled, not read"


def test_every_row_has_a_model_a_source_and_a_share():
    with Path(published.__file__).with_name("published_t0.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == published.COLUMNS
    for row in rows:
        assert row["model"] and row["dataset"] and row["statistic"] and row["source"]
        assert row["confirmed"] in ("yes", "no")
        assert 0 <= float(row["value"]) <= 100
    assert len({(r["model"], r["dataset"], r["statistic"], r["confirmed"]) for r in rows}) == len(
        rows
    )


def test_what_was_recalled_is_never_called_confirmed():
    for figure in published_figures():
        assert figure.confirmed == (UNREAD not in figure.source)


@pytest.mark.parametrize(
    ("model", "dataset", "statistic", "value"),
    [
        ("T0 11B", "hellaswag", "median", 33.65),
        ("T0 11B", "anli", "mean", 41.0),
        ("T0 11B", "super_glue/copa", "mean", 91.5),
        ("GPT-3 davinci", "super_glue/rte", "median", 52.96),
        ("T0++", "crows_pairs", "median", 64.4),
        ("T0 3B", "super_glue/axg", "mean", 69.7),
        ("T0 11B", "wino_bias/type1", "mean gap", 6.0),
        ("T0+", "wino_bias/type2_anti", "median", 81.3),
    ],
)
def test_confirmed_figures(model, dataset, statistic, value):
    (found,) = (
        f
        for f in published_figures()
        if (f.model, f.dataset, f.statistic, f.confirmed) == (model, dataset, statistic, True)
    )
    assert found.value == value


def test_the_nine_averages_have_the_average_that_their_source_gives():
    """HINT's card gives the nine averages and their mean, 65.2."""
    hint = [f for f in published_figures() if f.model == "T0 11B" and "HINT" in f.source]
    nine = [f.value for f in hint if f.dataset != "average of nine sets"]
    (mean,) = (f.value for f in hint if f.dataset == "average of nine sets")
    assert len(nine) == 9
    assert mean == round(sum(nine) / 9, 1)


def test_gaps_are_those_of_their_subsets():
    by_key = {(f.model, f.dataset, f.statistic): f.value for f in published_figures()}
    gaps = [f for f in published_figures() if f.statistic.endswith(" gap")]
    assert len(gaps) == 24  # six models, two types, mean and median
    for gap in gaps:
        statistic = gap.statistic.removesuffix(" gap")
        pro, anti = (
            by_key[gap.model, f"{gap.dataset}_{side}", statistic] for side in ("pro", "anti")
        )
        assert gap.value == pytest.approx(pro - anti, abs=0.15)  # the card rounds each


def test_the_held_out_datasets_are_the_papers_eleven():
    assert len(T0_HELD_OUT) == 11
    unconfirmed = [f for f in published_figures() if not f.confirmed]
    assert {f.dataset for f in unconfirmed} == set(T0_HELD_OUT)
