"""The lexicon's mixtures: what is held out stays out, and tasks have equal shares."""

from collections import Counter

import pytest

import mixtures.lexicon
from instrux.data import registration
from tasks import lexicon

TRAINING = ["lexicon_train", "lexicon_train_p1", "lexicon_train_p3", "lexicon_train_p7"]


def prompts_in(mixture):
    by_name = {prompt.name: prompt for prompt in lexicon.prompts()}
    return [by_name[name] for name in registration.mixture_rates(mixture)]


@pytest.mark.parametrize("mixture", TRAINING)
def test_no_held_out_prompt_is_trained_on(mixture):
    held_out = prompts_in("lexicon_heldout_prompts") + prompts_in("lexicon_heldout_cluster")
    assert not set(prompts_in(mixture)) & set(held_out)
    assert {prompt.role for prompt in prompts_in(mixture)} == {"train"}


@pytest.mark.parametrize("mixture", [*TRAINING, "lexicon_no_instructions"])
def test_no_task_of_the_held_out_cluster_is_trained_on_in_any_wording(mixture):
    held_out = {prompt.task for prompt in prompts_in("lexicon_heldout_cluster")}
    assert held_out == {"which_past", "which_ing", "which_comparative"}
    assert not held_out & {prompt.task for prompt in prompts_in(mixture)}


@pytest.mark.parametrize(
    ("mixture", "prompts_a_task"),
    [
        ("lexicon_train", 7),
        ("lexicon_train_p1", 1),
        ("lexicon_train_p3", 3),
        ("lexicon_train_p7", 7),
        ("lexicon_no_instructions", 1),
        ("lexicon_heldout_prompts", 3),
    ],
)
def test_every_task_has_the_same_number_of_prompts_and_the_same_share(mixture, prompts_a_task):
    prompts = prompts_in(mixture)
    assert Counter(Counter(prompt.task for prompt in prompts).values()) == {prompts_a_task: 23}
    rates = registration.mixture_rates(mixture)
    shares: Counter[str] = Counter()
    for prompt in prompts:
        shares[prompt.task] += rates[prompt.name]
    assert all(share == pytest.approx(1.0) for share in shares.values())


def test_more_prompts_keep_those_that_fewer_have():
    one, three, seven = (set(mixtures.lexicon.first_prompts(number)) for number in (1, 3, 7))
    assert one < three < seven
