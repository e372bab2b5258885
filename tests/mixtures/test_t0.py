"""T0's mixtures against the published registration."""

import json
from pathlib import Path

import pytest

seqio = pytest.importorskip("seqio")

from instrux.data import registration  # noqa: E402
from mixtures import t0  # noqa: E402, F401

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "specs" / "t0_mixtures.json"
# Of the paper's public registration, computed over PromptSource 0.2.3.
SIZES = {
    "t0_train": (313, 17_277_798),
    "t0+_train": (392, 20_672_671),
    "t0++_train": (464, 23_118_591),
    "t0_train_one_og_prompt": (35, 1_993_444),
    "t0_train_all_og_prompts": (222, 12_527_831),
    "t0_eval_score_eval": (116, None),
    "t0_train_score_eval": (89, None),
    "bias_fairness_eval_score_eval": (16, None),
}


@pytest.mark.parametrize("name", SIZES)
def test_tasks_and_the_sum_of_rates_are_the_published_ones(name):
    num_tasks, total = SIZES[name]
    rates = registration.mixture_rates(name)
    assert len(rates) == num_tasks
    assert total is None or sum(rates.values()) == total
    assert min(rates.values()) > 0


@pytest.mark.parametrize("name", SIZES)
def test_every_task_and_every_rate_is_the_published_one(name):
    if not PUBLISHED.exists():
        pytest.skip("the published registration is not here")
    published = json.loads(PUBLISHED.read_text())["mixtures"][name]
    rates = seqio.MixtureRegistry.get(name).rate_per_task_name
    assert set(rates) == set(published["tasks"])
    if published["rates"] is not None:
        assert dict(rates) == published["rates"]
        assert all(isinstance(rate, int) for rate in rates.values())


def test_winobias_is_a_mixture_of_its_own_since_it_has_no_choices_to_rank():
    names = list(registration.mixture_rates("bias_fairness_eval_generation"))
    assert len(names) == 28  # four subsets, seven templates
    assert all(name.startswith("wino_bias_type") for name in names)
    ranked = {"crows_pairs", "super_glue_axg"}
    mixture = registration.mixture_rates("bias_fairness_eval_score_eval")
    assert {p for p in ranked for name in mixture if name.startswith(p)} == ranked
    assert len([name for name in mixture if name.startswith("crows_pairs")]) == 6


def test_a_large_dataset_shares_one_cap_among_its_templates():
    rates = registration.mixture_rates("t0_train")
    # 500,000 by 9, 7, 5 and 4 templates; below the cap every task has the size of its dataset.
    assert rates["amazon_polarity_Is_this_review"] == 55_555
    assert rates["yelp_review_full_so_i_would"] == 71_428
    assert rates["wiki_bio_who"] == 100_000
    assert rates["dbpedia_14_given_a_choice_of_categories_"] == 125_000
    assert rates["glue_qqp_quora"] == 363_846


def test_the_cap_counts_all_templates_where_a_mixture_uses_one():
    assert registration.mixture_rates("t0_train_one_og_prompt")["gigaword_TLDR"] == 55_555


def test_one_prompt_a_dataset_and_none_where_none_is_original():
    tasks = registration.mixture_rates("t0_train_one_og_prompt")
    datasets = {registration.prompted_task(name).source.label for name in tasks}
    assert len(datasets) == 35
    assert not datasets & {"kilt_tasks/hotpotqa", "quarel", "app_reviews"}


def test_no_training_task_of_t0_is_over_a_dataset_that_is_held_out():
    def labels(name):
        tasks = map(registration.prompted_task, registration.resolve_names([name]))
        return {task.source.label for task in tasks}

    held_out = labels("t0_eval_score_eval")
    assert not labels("t0_train") & held_out
    # T0++ trains on all but NLI, Winogrande and StoryCloze.
    assert held_out - labels("t0++_train") == {
        "anli",
        "super_glue/cb",
        "super_glue/rte",
        "winogrande/winogrande_xl",
        "story_cloze/2016",
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("d4_train", "t0_train"),
        ("d4_gpt_train", "t0+_train"),
        ("d4_gpt_sglue_train", "t0++_train"),
    ],
)
def test_a_mixture_is_found_by_its_name_of_2021(old, new):
    assert registration.find_name(old) == new
