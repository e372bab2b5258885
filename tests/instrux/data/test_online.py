"""Batches read from SeqIO as they come: the same after a stop as without one."""

from itertools import islice

import numpy as np
import pytest
import seqio
import tensorflow as tf

from instrux.data import name_families
from instrux.data.online import SeqioBatches, SeqioSource
from instrux.errors import InputError

LENGTHS = {"inputs": 24, "targets": 12}
COUNTS = {"online_test_a": 30, "online_test_b": 50}


def dataset(name):
    def make(split, shuffle_files, seed=None):
        del split, shuffle_files, seed
        texts = [f"{name[-1]}{n}" for n in range(COUNTS[name])]
        return tf.data.Dataset.from_tensor_slices({"inputs": texts, "targets": texts})

    return make


@pytest.fixture(scope="module")
def mixture():
    features = {
        name: seqio.Feature(seqio.ByteVocabulary(), add_eos=name == "targets") for name in LENGTHS
    }
    for name in COUNTS:
        seqio.TaskRegistry.add(
            name,
            source=seqio.FunctionDataSource(dataset(name), splits=["train"]),
            output_features=features,
            preprocessors=[
                seqio.preprocessors.tokenize,
                seqio.preprocessors.append_eos_after_trim,
            ],
        )
    return seqio.MixtureRegistry.add("online_test", [(name, 1.0) for name in COUNTS]).name


def first(count, mixture, **settings):
    return list(islice(SeqioBatches(mixture, "train", LENGTHS, 4, **settings), count))


def same(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], err_msg=name)


@pytest.mark.parametrize("pack", [True, False])
def test_batches_after_a_resume_equal_the_undisturbed_ones(mixture, pack):
    # Far enough for both tasks to start their examples over again.
    undisturbed = first(40, mixture, seed=3, pack=pack)
    for start_step in (1, 38):
        resumed = first(40 - start_step, mixture, seed=3, pack=pack, start_step=start_step)
        same(resumed, undisturbed[start_step:])


def test_seeds_give_other_batches(mixture):
    one, other = (first(3, mixture, seed=seed) for seed in (0, 1))
    assert any(
        (left["encoder_input_tokens"] != right["encoder_input_tokens"]).any()
        for left, right in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("pack", [True, False])
def test_features_are_named_and_shaped_as_those_of_a_packed_dataset(mixture, pack):
    (batch,) = first(1, mixture, seed=0, pack=pack)
    assert len(batch) == 8
    for name, value in batch.items():
        assert value.dtype == np.int32
        assert value.shape == (4, 24 if name.startswith("encoder") else 12)
    assert (batch["encoder_segment_ids"].max() > 1) == pack
    ends = batch["decoder_target_tokens"] == 1
    assert (batch["decoder_segment_ids"][ends] > 0).all()
    assert (batch["decoder_positions"][batch["decoder_segment_ids"] == 0] == 0).all()


def test_a_row_that_is_not_packed_is_one_segment(mixture):
    (batch,) = first(1, mixture, seed=0, pack=False)
    length = int((batch["encoder_input_tokens"][0] != 0).sum())
    padding = [0] * (24 - length)
    assert batch["encoder_segment_ids"][0].tolist() == [1] * length + padding
    assert batch["encoder_positions"][0].tolist() == [*range(length), *padding]


def test_processes_share_each_batch_without_overlap(mixture):
    source = SeqioSource(mixture, "train", LENGTHS)
    whole = list(islice(source.batches(4, seed=0), 3))
    parts = [
        list(islice(source.batches(4, seed=0, process_index=index, process_count=2), 3))
        for index in (0, 1)
    ]
    joined = [
        {name: np.concatenate([left[name], right[name]]) for name in left}
        for left, right in zip(*parts, strict=True)
    ]
    same(joined, whole)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("online_tst", "train", LENGTHS, 4, 0), "Did you mean 'online_test'"),
        (("online_test", "test", LENGTHS, 4, 0), "has no split 'test'; it has train"),
        (("online_test", "train", {"inputs": 4}, 4, 0), "give 'inputs' and 'targets'"),
        (("online_test", "train", LENGTHS, 0, 0), "batch_size is 0"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(mixture, arguments, told):
    with pytest.raises(InputError, match=told) as error:
        SeqioBatches(*arguments)
    assert "\n" not in str(error.value)


def test_a_mixture_of_a_family_is_registered_and_read(mixture, monkeypatch):
    monkeypatch.setattr(name_families, "_FAMILIES", {})
    name = "online_test_family1"
    name_families.add_name_family(
        "online_test_family{N}",
        r"online_test_family(\d)",
        lambda match: seqio.MixtureRegistry.add(match[0], [("online_test_a", int(match[1]))]).name,
    )
    assert name not in seqio.MixtureRegistry.names()
    (batch,) = first(1, name, seed=3)
    assert batch["encoder_input_tokens"].shape == (4, LENGTHS["inputs"])
