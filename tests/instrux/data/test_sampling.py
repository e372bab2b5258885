"""A mixture's rates are honoured, whoever asks and in whatever order."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.data.sampling import TaskSample, apportion, draw, permuted
from instrux.errors import InputError

rates = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4),
    st.one_of(st.integers(1, 10**9).map(float), st.floats(1e-3, 1e6)),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(rates, st.integers(1, 10**7))
def test_counts_sum_to_what_was_asked_and_are_within_one_of_the_rate(rates, num_examples):
    counts = apportion(rates, num_examples)
    assert sum(counts.values()) == num_examples
    whole = sum(map(Fraction, rates.values()))
    for task, rate in rates.items():
        assert abs(counts[task] - num_examples * Fraction(rate) / whole) < 1 + 1e-6


def test_the_largest_remainders_get_what_is_left_over():
    # Quotas 4.5, 3.3, 2.2: one is left over, and a has the largest remainder.
    assert apportion({"a": 45, "b": 33, "c": 22}, 10) == {"a": 5, "b": 3, "c": 2}
    # Quotas 1/3 each: the first one in order gets it.
    assert apportion({"z": 1, "y": 1, "x": 1}, 1) == {"z": 1, "y": 0, "x": 0}


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_that_is_no_positive_number_is_refused_by_name(rate):
    with pytest.raises(InputError, match="task bad: its rate is"):
        apportion({"good": 1.0, "bad": rate}, 10)


def test_no_task_and_no_examples_are_refused():
    with pytest.raises(InputError, match="no task"):
        apportion({}, 10)
    with pytest.raises(InputError, match="num_examples is 0"):
        apportion({"a": 1.0}, 0)


def test_an_empty_task_is_refused_by_name():
    with pytest.raises(InputError, match="task empty: it has no examples"):
        draw({"full": 1.0, "empty": 1.0}, {"full": 5, "empty": 0}, num_examples=4, seed=0)


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**32))
def test_a_permutation_takes_every_value_once(size, seed):
    assert sorted(permuted(np.arange(size), size, seed).tolist()) == list(range(size))


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(0, 3000), st.integers(0, 100), st.data())
def test_every_example_is_taken_floor_or_ceiling_times(available, taken, seed, data):
    sample = TaskSample("task", available, taken, seed)
    repeats = sample.repeats(np.arange(available))
    assert repeats.sum() == taken
    assert set(repeats) <= {taken // available, -(-taken // available)}
    some = data.draw(st.lists(st.integers(0, available - 1), max_size=5))
    assert sample.repeats(np.array(some, int)).tolist() == repeats[some].tolist()


def test_seeds_and_tasks_choose_other_examples():
    def chosen(task, seed):
        return set(np.flatnonzero(TaskSample(task, 1000, 100, seed).repeats(np.arange(1000))))

    # 100 of 1,000 chosen twice at random have 10 in common on average, 25 almost never.
    assert len(chosen("a", 0) & chosen("a", 1)) < 25
    assert len(chosen("a", 0) & chosen("b", 0)) < 25
    assert chosen("a", 0) == chosen("a", 0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_permutations_of_three_are_all_drawn_about_as_often(first_seed):
    drawn = Counter(
        tuple(permuted(np.arange(3), 3, first_seed, seed).tolist()) for seed in range(600)
    )
    # 100 each, standard deviation 9: seven of them allowed for.
    assert len(drawn) == 6
    assert all(40 < count < 160 for count in drawn.values())
