"""FLAN's tasks over the rows of a mirror in the hub's schema."""

import itertools

import pytest

pytest.importorskip("seqio")

from instrux.data import registration
from instrux.data.prompted_task import Skipped
from instrux.data.sources_ranges import RowRange
from instrux.errors import InputError
from instrux.prompts.flan import FLAN_DIALOGUE
from instrux.prompts.flan_few_shot import in_pool
from mixtures import flan_sample
from tasks.flan_sample import sample_clusters, sample_datasets

DATASETS = sorted(sample_datasets())


def test_there_are_several_datasets_of_the_clusters_that_the_paper_holds_out():
    counts = {name: len(group) for name, group in sample_clusters().items()}
    assert sum(counts.values()) == 27 and len(counts) == 12
    held_out = ("entailment", "open_domain_qa", "common_sense", "reading_comprehension")
    assert all(counts[name] >= 3 for name in held_out)


def test_a_row_is_in_one_split_only():
    everything = dict.fromkeys(DATASETS)
    for name in everything:
        ranges = [RowRange.parse(text) for _, text in sample_datasets()[name].ranges]
        for one, other in itertools.combinations(ranges, 2):
            if one.split != other.split:
                continue
            rows = [set(range(*each.bounds(5000))) for each in (one, other)]
            assert not rows[0] & rows[1], (name, one, other)


@pytest.mark.parametrize("name", DATASETS)
def test_real_rows_are_rendered_in_every_split(name, shared_data, monkeypatch):
    monkeypatch.setenv("INSTRUX_MIRROR", str(shared_data / "p3"))
    task = registration.prompted_task(f"sample_{name}_10templates").resolve()
    of = sample_datasets()[name]
    sizes = {}
    for split in ("train", "validation", "test"):
        sizes[split] = sum(shard.num_rows for shard in task.source.shards(split))
        rows = itertools.islice(task.source.rows(split), 12)
        made = [task.render(row, task.source.example_id(split, n)) for n, row in rows]
        rendered = [each for each in made if not isinstance(each, Skipped)]
        assert len(rendered) >= len(made) // 2 > 0
        for each in rendered:
            assert each.inputs.strip() and "{{" not in each.inputs
            assert each.answer_choices is None or of.is_classification
    assert sizes["train"] == of.train_examples
    assert task.source.label == of.tfds.partition(":")[0]


@pytest.mark.parametrize("name", ["cb", "copa", "wsc"])
def test_32_rows_are_enough_for_16_exemplars_and_some_queries(name):
    task = registration.prompted_task(f"sample_{name}_10templates_multi_shot")
    few_shot, source = task.template, task.source
    first, last = RowRange.parse(dict(sample_datasets()[name].ranges)["train"]).bounds(32)
    pool = [
        in_pool(source.example_id("train", number), share=few_shot.pool_share)
        for number in range(first, last)
    ]
    assert len(pool) == 32 and few_shot.shots == 16 <= sum(pool) <= 28


def test_a_task_is_known_by_tensorflow_datasets_name_and_ranked_where_it_has_options():
    assert registration.find_name("sample_anli_r1_type_0_scoring_eval") == (
        "sample_anli_r1_type_0_score_eval"
    )
    assert registration.prompted_task("sample_anli_r1_type_0").source.label == "anli/r1"
    with pytest.raises(InputError, match="there are no options to rank"):
        registration.find_name("sample_squad_v1_type_0_scoring_eval")


def tasks_of(mixture):
    return set(registration.mixture_rates(mixture))


def test_a_cluster_is_left_out_with_those_close_to_it():
    trained = tasks_of("flan_sample_without_entailment_10templates_train")
    close = {f"sample_{each.name}_10templates" for each in sample_clusters()["paraphrase"]}
    assert len(trained) == 27 - 6 - 3 and not trained & close
    asked = tasks_of("flan_sample_without_entailment_10templates_eval")
    # Forward templates: nine of ANLI's three rounds, of CB and of RTE, all ten of WNLI.
    assert len(asked) == 5 * 9 + 10
    assert "sample_cb_no_template" in tasks_of("flan_sample_without_sentiment_no_template_train")


def test_the_ablation_adds_clusters_in_the_papers_order():
    assert flan_sample.TRAINING_CLUSTERS == (
        "reading_comprehension",
        "sentiment",
        "structure_to_text",
        "coreference",
    )
    sizes = [len(tasks_of(f"flan_sample_clusters{k}_10templates_train")) for k in (1, 2, 3, 4)]
    assert sizes == [4, 5, 6, 8]
    few = tasks_of("flan_sample_inter_4templates_1tpc_train")
    assert few == {
        f"sample_{name}_4templates" for name in ("squad_v1", "sst2", "common_gen", "winogrande")
    }
    with pytest.raises(InputError, match="give 1 to 4"):
        registration.mixture_rates("flan_sample_clusters5_10templates_train")


def test_the_released_codes_text_is_a_switch_on_tasks_and_mixtures():
    task = registration.prompted_task("rte_type_3:as_released:dialogue")
    assert task.template.form.wrapper == FLAN_DIALOGUE
    assert "multirc_answer_id" in task.template.as_released
    plain = registration.prompted_task("rte_type_3")
    assert not plain.template.as_released and plain.template.form.wrapper != FLAN_DIALOGUE
    name = "flan_superglue_split_10templates_train"
    assert tasks_of(f"{name}:dialogue") == {f"{each}:dialogue" for each in tasks_of(name)}
    with pytest.raises(InputError, match="only zero-shot prompts take `:dialogue`"):
        registration.find_name("rte_10templates_multi_shot:dialogue")
