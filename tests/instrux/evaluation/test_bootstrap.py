"""Intervals: Wilson against published values, the bootstrap against known truth."""

import numpy as np
import pytest

from instrux.evaluation import bootstrap


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_has_newcombes_values(correct, total, low, high):
    interval = bootstrap.wilson(correct, total)
    assert interval.low == pytest.approx(100 * low, abs=0.006)
    assert interval.high == pytest.approx(100 * high, abs=0.006)


def test_wilson_interval_of_nothing_is_everything():
    assert bootstrap.wilson(0, 0) == bootstrap.Interval(0.0, 100.0)


def test_normal_interval_by_hand():
    # mean 50, standard deviation 50 * sqrt(4/3), over 2: 50 -+ 1.96 * 28.87
    interval = bootstrap.normal_interval(np.array([0.0, 0.0, 100.0, 100.0]))
    assert interval.low == pytest.approx(0.0)  # 50 - 56.58 is cut at 0
    interval = bootstrap.normal_interval(np.array([40.0, 40.0, 60.0, 60.0]))
    assert interval.high == pytest.approx(50 + 1.959964 * 10 * (4 / 3) ** 0.5 / 2)


def _credits(array, dataset="d", tasks=None):
    tasks = tasks or [f"t{i}" for i in range(array.shape[1])]
    columns = [
        (task, [(f"e{i:04d}", float(credit)) for i, credit in enumerate(array[:, j])])
        for j, task in enumerate(tasks)
    ]
    return bootstrap.dataset_credits(dataset, columns)


def test_prompts_that_skip_rows_keep_their_own_mean():
    made = bootstrap.dataset_credits("d", [("a", [("x", 100), ("y", 0)]), ("b", [("y", 100)])])
    assert made.example_ids == ("x", "y")
    assert made.prompt_scores.tolist() == [50, 100]
    assert made.for_examples(["y"]).prompt_scores.tolist() == [0, 100]


def test_one_row_made_into_two_examples_counts_twice():
    made = bootstrap.dataset_credits("d", [("a", [("x", 100), ("x", 0), ("y", 0)])])
    assert made.prompt_scores[0] == pytest.approx(100 / 3)


def test_without_variation_the_interval_is_a_point():
    replicates = bootstrap.median_replicates([_credits(np.full((20, 3), 100.0))])
    assert set(replicates.ravel()) == {100.0}


def test_draws_depend_on_seed_and_dataset_alone():
    array = np.random.default_rng(0).choice([0.0, 100.0], size=(50, 4))
    one, again = (bootstrap.median_replicates([_credits(array)], seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    other = bootstrap.median_replicates([_credits(array)], seed=4)
    assert not np.array_equal(one, other)


def test_runs_to_compare_share_their_draws():
    """Where one run gets exactly 10 more on every example, so does it in every replicate."""
    base = np.random.default_rng(0).uniform(0, 90, size=(40, 5))
    first, second = bootstrap.median_replicates([_credits(base), _credits(base + 10)])
    np.testing.assert_allclose(second - first, 10)
    assert first.std() > 0.5


def test_runs_with_different_examples_cannot_be_paired():
    with pytest.raises(ValueError, match="different examples"):
        bootstrap.median_replicates([_credits(np.ones((3, 1))), _credits(np.ones((4, 1)))])


@pytest.mark.parametrize(
    ("num_prompts", "num_examples", "prompt_spread"), [(3, 40, 0.0), (4, 60, 5.0), (8, 120, 5.0)]
)
def test_intervals_cover_the_truth_as_often_as_they_say_and_are_no_wider(
    num_prompts, num_examples, prompt_spread
):
    """Prompts and examples are drawn from a known law, many times."""
    rng = np.random.default_rng(7)
    truth, trials, covered, medians, half_widths = 60.0, 150, 0, [], []
    for trial in range(trials):
        levels = rng.normal(truth, prompt_spread, size=num_prompts)
        ease = rng.normal(0, 15, size=(num_examples, 1))  # an easy example is so under every prompt
        chance = np.clip((levels + ease) / 100, 0, 1)
        made = _credits(100.0 * (rng.uniform(size=chance.shape) < chance), dataset=f"d{trial}")
        replicates = bootstrap.median_replicates([made], replicates=200)
        interval = bootstrap.percentile_interval(replicates[0])
        covered += interval.low <= truth <= interval.high
        half_widths.append((interval.high - interval.low) / 2)
        medians.append(np.median(made.prompt_scores))
    assert 0.88 <= covered / trials <= 1.0
    assert np.mean(half_widths) == pytest.approx(1.96 * np.std(medians), rel=0.25)


def test_large_sets_are_drawn_in_chunks_of_the_same_law(monkeypatch):
    array = np.random.default_rng(0).choice([0.0, 100.0], size=(60, 3))
    whole = bootstrap.median_replicates([_credits(array)])[0]
    monkeypatch.setattr(bootstrap, "_COUNTS_PER_CHUNK", 100)
    parts = bootstrap.median_replicates([_credits(array)])[0]
    assert parts.shape == whole.shape
    assert parts.mean() == pytest.approx(whole.mean(), abs=1.0)
