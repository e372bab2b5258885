"""T0's ablations on the number of prompts and datasets, against the paper's mixtures."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

seqio = pytest.importorskip("seqio")

from instrux.data import registration  # noqa: E402
from instrux.errors import InputError  # noqa: E402
from mixtures import t0, t0_ablations  # noqa: E402, F401


@pytest.fixture(autouse=True)
def own_copy_of_the_registry(monkeypatch):
    registry = dict(seqio.MixtureRegistry._REGISTRY)
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", registry)


def labels(name):
    tasks = map(registration.prompted_task, registration.mixture_rates(name))
    return {task.source.label for task in tasks}


def test_seqio_knows_a_mixture_after_it_was_asked_for():
    assert "t0_train_p3" not in seqio.MixtureRegistry.names()
    registration.find_name("t0_train_p3")
    assert len(seqio.get_mixture_or_task("t0_train_p3").tasks) > 35


@pytest.mark.parametrize("name", ["t0_train_p1", "t0_train_p1_seed1", "t0_train_p4_seed20"])
def test_at_most_n_original_prompts_of_each_of_the_35_datasets(name):
    number = int(re.findall(r"_p(\d+)", name)[0])
    everything = registration.mixture_rates("t0_train_all_og_prompts")
    rates = registration.mixture_rates(name)
    assert rates.items() <= everything.items()
    assert len(labels(name)) == 35
    for label in labels(name):
        count = sum(registration.prompted_task(task).source.label == label for task in rates)
        whole = sum(registration.prompted_task(task).source.label == label for task in everything)
        assert count == min(number, whole)


def test_the_most_prompts_are_all_of_them():
    everything = registration.mixture_rates("t0_train_all_og_prompts")
    assert registration.mixture_rates("t0_train_p11") == everything
    assert registration.mixture_rates("t0_train_p11_seed5") == everything


def test_the_papers_single_prompt_is_the_first_by_name_and_no_draw():
    paper = set(registration.mixture_rates("t0_train_one_og_prompt"))
    draws = [set(registration.mixture_rates(f"t0_train_p1_seed{seed}")) for seed in range(4)]
    assert all(draw != paper for draw in draws)
    assert len({frozenset(draw) for draw in draws}) == 4
    assert registration.mixture_rates("t0_train_p1") == registration.mixture_rates(
        "t0_train_p1_seed0"
    )


@pytest.mark.parametrize(
    ("number", "paper", "rows"),
    [(39, "t0_train", 38), (49, "t0+_train", 48), (55, "t0++_train", 54)],
)
def test_the_papers_numbers_of_datasets_are_its_three_mixtures(number, paper, rows):
    name = f"t0_train_d{number}"
    assert registration.mixture_rates(name) == registration.mixture_rates(paper)
    assert len(labels(name)) == rows


def test_fewer_datasets_than_t0_has_come_with_all_of_their_prompts():
    everything = registration.mixture_rates("t0_train")
    rates = registration.mixture_rates("t0_train_d7")
    chosen = labels("t0_train_d7")
    assert len(chosen) == 7
    assert rates == {
        task: rate
        for task, rate in everything.items()
        if registration.prompted_task(task).source.label in chosen
    }
    assert labels("t0_train_d7_seed1") != chosen
    assert registration.mixture_rates("t0_train_d38") == everything


@pytest.mark.parametrize(
    ("number", "below", "above", "drawn"),
    [(42, "t0_train", "t0+_train", 3), (54, "t0+_train", "t0++_train", 5)],
)
def test_between_the_papers_numbers_the_next_group_is_drawn_from(number, below, above, drawn):
    found = labels(f"t0_train_d{number}_seed3")
    assert labels(below) < found < labels(above)
    assert len(found) == len(labels(below)) + drawn


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from([t0_ablations.drawn_prompts, t0_ablations.drawn_datasets]),
    number=st.integers(1, 11),
    seed=st.integers(0, 10**17),
)
def test_more_are_those_of_fewer_and_some_more_and_the_same_again(kind, number, seed):
    fewer, more = kind(number, seed), kind(number + 1, seed)
    assert fewer == kind(number, seed)
    assert set(fewer) <= set(more)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("t0_train_p0", "give 1 to 11 prompts"),
        ("t0_train_p12", "give 1 to 11 prompts"),
        ("t0_train_d0", "give 1 to 55 datasets"),
        ("t0_train_d56_seed2", "give 1 to 55 datasets"),
        ("t0_train_d49_seed2", "nothing is drawn for 49 datasets; leave the seed out"),
        ("t0_train_p", "unknown task or mixture"),
        ("t0_train_p03", "unknown task or mixture"),
        ("t0_train_p2_seed-1", "unknown task or mixture"),
        ("t0_train_p" + "9" * 40, "unknown task or mixture"),
    ],
)
def test_a_number_that_cannot_be_is_told_in_one_line(name, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        registration.mixture_rates(name)
    assert "\n" not in str(caught.value)
    assert name not in seqio.MixtureRegistry.names()
