import csv
import itertools
from collections import Counter
from pathlib import Path

import pytest

from instrux.data.sources_ranges import RowRange
from instrux.errors import InputError
from tasks.flan_table import all_datasets, clusters, dataset, released

SPEC = Path(__file__).resolve().parents[3] / "shared" / "specs" / "flan_datasets.csv"
# Rows held out for validation that are not 200 (released code).
DEV_ROWS = {"wsc": 50, "cb": 50, "copa": 50, "wnli": 30} | dict.fromkeys(
    (
        "piqa",
        "stsb",
        "coqa",
        "opinion_abstracts_rotten_tomatoes",
        "opinion_abstracts_idebate",
    ),
    100,
)
SIZE = 1_000_000


def test_the_registry_has_69_datasets_in_17_clusters():
    assert len(released()) == 69
    assert sum(each.train_examples or 0 for each in released()) == 1_492_765
    assert list(map(len, clusters().values())) == [
        11,
        4,
        6,
        4,
        4,
        4,
        3,
        4,
        8,
        3,
        10,
        1,
        2,
        1,
        1,
        1,
        2,
    ]
    assert Counter(each.member for each in all_datasets().values()) == {
        "released": 69,
        "evaluation": 1,
        "optional": 2,
    }


def test_templates_and_classification():
    seventy = [each for each in all_datasets().values() if each.member != "optional"]
    assert sum(each.is_classification for each in seventy) == 37
    turned = Counter(10 - each.forward_templates for each in seventy)
    assert turned == {0: 20, 1: 10, 2: 27, 3: 10, 4: 3}
    assert len({each.key.key for each in seventy}) == 61


def test_every_fact_is_the_specs():
    if not SPEC.exists():
        pytest.skip("the published facts are not here")
    with SPEC.open(encoding="utf-8", newline="") as lines:
        facts = list(csv.DictReader(lines))
    assert len(facts) == 70
    for fact in facts:
        ours = dataset(fact["dataset"])
        assert ours.cluster == fact["cluster"]
        assert ours.tfds_released == fact["tfds_name"]
        assert str(ours.train_examples or "") == fact["train_split_examples"]
        assert 10 - ours.forward_templates == int(fact["num_inverted_templates"])
        assert (ours.member == "evaluation") == (fact["eval_only"] == "yes")


@pytest.mark.parametrize("each", released(), ids=lambda each: each.name)
def test_splits_of_a_dataset_are_disjoint_and_of_the_released_sizes(each):
    rows = {}
    for split, text in each.ranges:
        wanted = RowRange.parse(text)
        first, last = wanted.bounds(SIZE)
        rows[split] = {(wanted.split, first, last)}
    spans = [span for found in rows.values() for span in found]
    for index, (split, first, last) in enumerate(spans):
        for other, other_first, other_last in spans[index + 1 :]:
            assert split != other or last <= other_first or other_last <= first
    ((_, first, last),) = rows["validation"]
    assert last - first == DEV_ROWS.get(each.name, 200)
    if each.train_examples == 30_000:
        ((_, first, last),) = rows["train"]
        assert last - first == 30_000


def test_sets_for_text_formatting_have_rows_of_their_own_but_for_the_test():
    ranges = [dict(dataset(name).ranges) for name in ("true_case", "fix_punct", "word_segment")]
    assert len({each["test"] for each in ranges}) == 1
    spans = sorted(
        RowRange.parse(each[split]).bounds(SIZE)
        for each in ranges
        for split in ("train", "validation")
    )
    assert spans[0][0] == 0 and spans[-1][1] == 90_600
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))


def test_an_unknown_dataset_is_told():
    with pytest.raises(InputError, match=r"no FLAN dataset 'ret'\. Did you mean 'rte'"):
        dataset("ret")
