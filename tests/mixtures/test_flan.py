"""FLAN's mixtures against counts and sums of the released code (its own `task_splits.py`, run)."""

import random

import pytest

pytest.importorskip("seqio")

from instrux.data import registration
from instrux.errors import InputError
from instrux.prompts.flan_few_shot import SHOTS
from instrux.prompts.flan_templates import TEMPLATE_COUNTS
from mixtures import flan, flan_splits  # noqa: F401
from mixtures.held_out import evaluations_of
from tasks.flan_table import all_datasets, clusters, paper_clusters

# Cluster number -> training tasks, test tasks, sum of the training mixture's rates.
LEAVE_ONE_OUT = {
    0: (58, 11, 156_712),
    1: (65, 4, 176_371),
    2: (61, 6, 164_371),
    3: (65, 4, 179_401),
    4: (55, 4, 152_276),
    5: (65, 4, 176_371),
    6: (66, 3, 179_371),
    7: (63, 4, 174_350),
    8: (61, 8, 164_371),
    9: (66, 3, 183_745),
    10: (55, 10, 152_276),
    11: (68, 1, 185_371),
    12: (67, 2, 182_371),
    13: (68, 1, 185_371),
    14: (68, 1, 185_371),
    15: (68, 1, 185_371),
    16: (57, 2, 156_350),
}
BELOW_THE_CAP = {
    "opinion_abstracts_idebate": 1_659,
    "arc_challenge": 919,
    "arc_easy": 2_051,
    "copa": 350,
    "story_cloze": 1_671,
    "definite_pronoun_resolution": 1_122,
    "wsc": 504,
    "cb": 200,
    "rte": 2_290,
    "wnli": 605,
}


def rates(name):
    return registration.mixture_rates(name)


def datasets(name):
    return {registration.prompted_task(task).template.dataset for task in rates(name)}


def test_rates_and_their_sum_over_all_datasets():
    found = rates("flan_all_overlap_10templates_train")
    assert len(found) == 69
    assert sum(found.values()) == 188_371
    below = {name.removesuffix("_10templates"): n for name, n in found.items() if n < 3_000}
    assert below == BELOW_THE_CAP
    assert found["cb_10templates"] / sum(found.values()) == pytest.approx(200 / 188_371)


def test_draws_follow_the_rates():
    found = rates("flan_all_overlap_10templates_train")
    total, n = sum(found.values()), 100_000
    drawn = random.Random(3).choices(list(found), weights=list(found.values()), k=n)
    for task, rate in found.items():
        p = rate / total
        assert abs(drawn.count(task) - n * p) < 4 * (n * p * (1 - p)) ** 0.5


@pytest.mark.parametrize("index", LEAVE_ONE_OUT)
def test_leaving_one_cluster_out(index):
    train, test, total = LEAVE_ONE_OUT[index]
    split = f"flan_inter_cluster_split_{index}_10templates"
    trained = rates(f"{split}_train")
    assert (len(trained), sum(trained.values())) == (train, total)
    held_out = datasets(f"{split}_eval")
    assert len(held_out) == test
    assert not held_out & datasets(f"{split}_train")


def test_clusters_that_are_close_are_left_out_too():
    def clusters_of(index):
        trained = datasets(f"flan_inter_cluster_split_{index}_10templates_train")
        return {all_datasets()[name].cluster for name in trained}

    number = {name: index for index, name in enumerate(clusters())}
    assert "paraphrase" not in clusters_of(number["entailment"])
    assert "entailment" not in clusters_of(number["paraphrase"])
    both = clusters_of(number["read_comp_and_common_sense"])
    assert not both & {"reading_comprehension", "common_sense"}
    assert "read_comp_and_common_sense" not in clusters_of(number["common_sense"])
    assert "reading_comprehension" in clusters_of(number["common_sense"])


@pytest.mark.parametrize("count", TEMPLATE_COUNTS)
def test_cluster_ablation(count):
    names = [f"flan_diversity_split{n}_{count}templates" for n in range(1, 8)]
    assert [len(rates(f"{name}_train")) for name in names] == [11, 19, 25, 29, 33, 36, 38]
    limited = [len(rates(f"{name}_15task_limit_train")) for name in names]
    assert limited == [11, 15, 15, 15, 15, 15, 15]


def test_what_the_cluster_ablation_is_evaluated_on():
    assert len(datasets("flan_diversity_split3_10templates_eval")) == 18


def test_tasks_per_cluster():
    counts = [len(rates(f"flan_inter_split_4templates_{k}tpc_train")) for k in range(1, 5)]
    assert counts == [7, 14, 20, 25]


def test_superglue():
    assert len(rates("flan_superglue_split_10templates_train")) == 61
    assert len(datasets("flan_superglue_split_10templates_eval")) == 8
    assert len(datasets("flan_superglue_split_10templates_scoring_eval")) == 8
    fewer, more = (
        set(rates(f"flan_superglue_split_10templates_{n}train_tasks_train")) for n in (20, 25)
    )
    assert len(fewer) == 20 and fewer < more


def test_one_dataset_of_each_cluster_versions_together():
    tested = set()
    for index in range(10):
        split = f"flan_intra_cluster_split_{index}_10templates"
        train, test = datasets(f"{split}_train"), datasets(f"{split}_eval")
        assert len(train) + len(test) == 69 and not train & test
        assert 13 <= len(test) <= 16
        for together in ({"squad_v1", "squad_v2"}, {"anli_r1", "anli_r2", "anli_r3"}):
            assert together <= test or not together & test
        tested |= test
    assert {"squad_v1", "anli_r2", "para_crawl_enes"} <= tested


def released_names():
    """All 938 splits of the released code."""
    for shots in ["", *(f"_{shots}_shot" for shots in SHOTS)]:
        yield from (f"flan_inter_cluster_split_{n}_10templates{shots}" for n in range(17))
        yield from (f"flan_intra_cluster_split_{n}_10templates{shots}" for n in range(10))
        yield f"flan_all_overlap_10templates{shots}"
        yield from (f"flan_superglue_split_{n}templates{shots}" for n in TEMPLATE_COUNTS)
        yield from (
            f"flan_superglue_split{shots}_10templates_{n}train_tasks" for n in range(5, 60, 5)
        )
        for n in TEMPLATE_COUNTS:
            for k in range(1, 8):
                yield f"flan_diversity_split{k}_{n}templates{shots}"
                yield f"flan_diversity_split{k}_{n}templates_15task_limit{shots}"
            yield from (f"flan_inter_split_{n}templates_{k}tpc{shots}" for k in range(1, 5))


def test_every_released_name_belongs_to_one_family():
    patterns = [family.pattern for family in flan.families()]
    names = [f"{split}_{use}" for split in released_names() for use in ("train", "eval")]
    assert len(names) == len(set(names)) == 1_876
    for name in names:
        assert sum(pattern.fullmatch(name) is not None for pattern in patterns) == 1, name


def test_listed_names_are_of_their_family_and_of_it_alone():
    listed = {family: list(family.names()) for family in flan.families()}
    assert all(listed.values())
    released = {f"{split}_{use}" for split in released_names() for use in ("train", "eval")}
    without_shots = {name for name in released if "_shot" not in name}
    assert without_shots <= {name for names in listed.values() for name in names}
    for family, names in listed.items():
        assert all(family.pattern.fullmatch(name) for name in names), family.spelling


@pytest.mark.parametrize(
    "name",
    [
        "flan_inter_cluster_split_10_10templates_multi_shot_train",
        "flan_superglue_split_ten_shot_10templates_55train_tasks_train",
        "flan_diversity_split7_2templates_15task_limit_five_shot_eval",
        "flan_inter_cluster_split_9_10templates_one_shot_scoring_eval",
    ],
)
def test_few_shot_mixtures_have_few_shot_tasks(name):
    shots = next(shots for shots in SHOTS if f"_{shots}_shot" in name)
    for task in rates(name):
        assert registration.prompted_task(task).template.shots == SHOTS[shots]


def test_ablations_of_the_instruction_have_the_same_rates():
    plain = rates("flan_inter_cluster_split_10_10templates_train")
    for kind in ("no_template", "dataset_name", "prefix_lm"):
        bare = rates(f"flan_inter_cluster_split_10_{kind}_train")
        assert {n.removesuffix(kind): rate for n, rate in bare.items()} == {
            n.removesuffix("10templates"): rate for n, rate in plain.items()
        }
    for kind in ("no_template", "dataset_name"):
        assert len(rates(f"flan_inter_cluster_split_10_{kind}_eval")) == 10


def test_the_papers_62_datasets():
    groups = paper_clusters()
    assert len(groups) == 12
    counts = {name: len({each.paper_dataset for each in group}) for name, group in groups.items()}
    assert counts == {
        "summarization": 11,
        "translation": 8,
        "natural_language_inference": 7,
        "miscellaneous": 7,
        "reading_comprehension": 5,
        "struct_to_text": 4,
        "paraphrase": 4,
        "sentiment": 4,
        "commonsense": 4,
        "closed_book_qa": 3,
        "coreference": 3,
        "reading_comprehension_with_commonsense": 2,
    }
    assert sum(counts.values()) == 62
    assert len(paper_clusters(optional=True)["translation"]) == 9  # as the figure lists them
    everything = datasets("flan_paper62_10templates_train")
    assert "wsc273" not in everything and not {"wsc", "true_case", "word_segment"} & everything
    assert {"para_crawl_ende", "para_crawl_enfr"} <= datasets(
        "flan_paper62_paracrawl_10templates_train"
    )
    without = datasets("flan_paper62_without_natural_language_inference_10templates_train")
    assert not without & {"rte", "anli_r1", "glue_mrpc", "paws_wiki"}
    assert "wsc273" in datasets("flan_paper62_without_coreference_10templates_scoring_eval")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("flan_inter_cluster_split_17_10templates_train", "give 0 to 16"),
        ("flan_intra_cluster_split_10_10templates_train", "give 0 to 9"),
        ("flan_diversity_split8_1templates_train", "give 1 to 7"),
        ("flan_superglue_split_10templates_7train_tasks_train", "give one of 5, 10"),
        ("flan_inter_split_1templates_5tpc_train", "give 1 to 4"),
        ("flan_inter_cluster_split_8_10templates_scoring_eval", "can be ranked"),
        ("flan_all_overlap_no_template_two_shot_train", "leave two_shot out"),
        ("flan_all_overlap_prefix_lm_eval", "end in _train"),
    ],
)
def test_names_that_cannot_be_are_told(name, told):
    with pytest.raises(InputError, match=told):
        registration.find_name(name)


def test_what_is_held_out_is_shown_beside_a_training_mixture():
    assert evaluations_of("flan_inter_cluster_split_3_10templates_train") == (
        "flan_inter_cluster_split_3_10templates_eval",
    )
    assert evaluations_of("flan_inter_cluster_split_3_10templates_eval") == ()
