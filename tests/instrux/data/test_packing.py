"""Packing loses nothing, overlaps nothing, and comes near the fewest rows there can be."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.data import packing
from instrux.data.decoder_rows import decoder_only_features, joined_features
from instrux.data.pack_blocks import Copies, Tokenizer, draw_copies
from instrux.data.pack_shard import pack_shard, shard_report
from instrux.data.packed_manifest import PackedShard
from instrux.data.packed_rows import RowLayout, model_features
from instrux.data.packing import pack
from instrux.data.packing_bounds import length_counts, lower_bound
from instrux.data.sampling import TaskSample
from instrux.data.vocabularies import VocabularySpec

INPUTS_LENGTH, TARGETS_LENGTH = 12, 6

sizes = st.lists(
    st.tuples(st.integers(0, INPUTS_LENGTH), st.integers(1, TARGETS_LENGTH)),
    min_size=1,
    max_size=60,
)


def rows_of(pairs, inputs_length=INPUTS_LENGTH, targets_length=TARGETS_LENGTH):
    inputs, targets = np.array(pairs).T
    return pack(inputs, targets, inputs_length=inputs_length, targets_length=targets_length)


def bound_of(pairs, inputs_length=INPUTS_LENGTH, targets_length=TARGETS_LENGTH):
    inputs, targets = np.array(pairs).T
    return lower_bound(
        length_counts(inputs, targets, inputs_length=inputs_length, targets_length=targets_length)
    )


def fewest_rows(pairs):
    """The optimum, by trying everything."""

    def search(left, rooms):
        if not left:
            return len(rooms)
        (inputs, targets), *others = left
        best = len(pairs)
        for number, (inputs_room, targets_room) in enumerate(rooms):
            if inputs <= inputs_room and targets <= targets_room:
                changed = list(rooms)
                changed[number] = (inputs_room - inputs, targets_room - targets)
                best = min(best, search(others, changed))
        opened = [*rooms, (INPUTS_LENGTH - inputs, TARGETS_LENGTH - targets)]
        return min(best, search(others, opened))

    return search(list(pairs), [])


@settings(deadline=None)
@given(sizes)
def test_no_row_is_longer_than_it_may_be_and_rows_are_numbered_from_zero(pairs):
    rows = rows_of(pairs)
    inputs, targets = np.array(pairs).T
    assert np.bincount(rows, inputs).max() <= INPUTS_LENGTH
    assert np.bincount(rows, targets).max() <= TARGETS_LENGTH
    assert set(rows) == set(range(rows.max() + 1))


@settings(deadline=None, max_examples=60)
@given(st.lists(sizes.map(lambda pairs: pairs[0]), min_size=1, max_size=6))
def test_the_bound_is_not_above_the_optimum_and_packing_is_not_below(pairs):
    optimum = fewest_rows(pairs)
    assert bound_of(pairs) <= optimum <= rows_of(pairs).max() + 1


@settings(deadline=None)
@given(sizes)
def test_the_bound_is_at_least_the_sum_in_either_dimension(pairs):
    inputs, targets = np.array(pairs).T
    assert bound_of(pairs) >= -(-inputs.sum() // INPUTS_LENGTH)
    assert bound_of(pairs) >= -(-targets.sum() // TARGETS_LENGTH)


def test_the_bound_sees_what_cannot_share_a_row():
    # Seven inputs of 7 in rows of 12: no two fit together.
    assert bound_of([(7, 1)] * 7) == 7
    # Nine of 5: two to a row, though their sum would do with four rows.
    assert bound_of([(5, 1)] * 9) == 5
    # Targets that fill a row keep its inputs empty: 3 rows, and 24 inputs need 2 more.
    assert bound_of([(1, 6)] * 3 + [(6, 1)] * 4) == 5


def test_rows_that_can_be_full_are_full():
    # 4 + 8 inputs and 2 + 4 targets fill a row of 12 and 6 exactly, however they are mixed.
    pairs = [(4, 2), (8, 4)] * 500
    assert rows_of(pairs).max() + 1 == 500


def test_equal_examples_keep_their_order():
    # The first of those of equal size go to the rows built first, so a shuffle stays one.
    rows = rows_of([(6, 3)] * 10)
    assert rows.tolist() == sorted(rows.tolist())


def score_of(pair, free, room, weights, price):
    """What the rule of `packing`'s first page says of a size; rounded as `packing` rounds it."""
    share = [free[d] / room[d] for d in (0, 1)]
    token = [weights[d] * share[d] / room[d] for d in (0, 1)]
    score = pair[0] * token[0] + pair[1] * token[1]
    if not price:
        return score
    token = token[0] + price * share[1] / room[0], token[1] - price * share[0] / room[1]
    return min(score, pair[0] * token[0] + pair[1] * token[1])


def rows_by_the_rule(pairs, room):
    """The rule of `packing`'s first page, an example at a time and nothing saved."""
    left = sorted(pairs)
    needed = [sum(pair[side] for pair in left) / room[side] for side in (0, 1)]
    rows = []
    while left:
        powers = [n**packing._SCARCITY_POWER for n in needed]
        scarcity = powers[0] / sum(powers), powers[1] / sum(powers)
        tried = []
        for weights, price in dict.fromkeys(rule.under(scarcity) for rule in packing._RULES):
            row, rest, free = [], list(left), list(room)
            while True:
                fitting = [pair for pair in rest if pair[0] <= free[0] and pair[1] <= free[1]]
                if not fitting:
                    break
                best = max(
                    (score_of(pair, free, room, weights, price), pair[1], pair[0])
                    for pair in fitting
                )[:0:-1]
                row.append(best)
                rest.remove(best)
                free = [free[0] - best[0], free[1] - best[1]]
            empty = scarcity[0] * free[0] / room[0] + scarcity[1] * free[1] / room[1]
            tried.append((empty, len(tried), row))
            if empty < packing._FULL_ENOUGH:
                break
        row = min(tried)[2]
        often = min(left.count(pair) // row.count(pair) for pair in row)
        for _ in range(often):
            rows.append(sorted(row))
            for pair in row:
                left.remove(pair)
        for d in (0, 1):
            needed[d] = max(needed[d] - often * sum(pair[d] for pair in row) / room[d], 1e-9)
    return rows


@settings(deadline=None, max_examples=150)
@given(
    sizes
    # One dimension hardly used: its weight is next to nothing, and scores tie.
    | st.lists(st.tuples(st.sampled_from([0, 0, 0, 0, 1, 3]), st.integers(4, 6)), min_size=1)
    | st.lists(st.tuples(st.integers(6, 12), st.just(1)), min_size=1)
)
def test_rows_are_those_of_the_rule_applied_one_example_at_a_time(pairs):
    rows = rows_of(pairs)
    packed = [
        sorted(pair for pair, of in zip(pairs, rows, strict=True) if of == row)
        for row in range(rows.max() + 1)
    ]
    assert packed == rows_by_the_rule(pairs, (INPUTS_LENGTH, TARGETS_LENGTH))


def test_targets_are_not_used_up_by_an_example_that_leaves_the_inputs_of_its_row_empty():
    # The largest example that fits beside (62, 108) is (54, 19), and then inputs of 396 stay empty.
    by_row = [[(62, 108)] + [(50, 2)] * 9] * 60 + [[(54, 19)] * 6 + [(188, 14)]] * 10
    pairs = list(itertools.chain.from_iterable(by_row))
    assert bound_of(pairs, 512, 128) == len(by_row)
    assert rows_of(pairs, 512, 128).max() + 1 <= 1.05 * len(by_row)


@pytest.mark.parametrize("seed", [0, 1])
def test_lengths_as_of_instruction_data_take_at_most_two_percent_more_rows_than_the_bound(seed):
    # Both dimensions are equally short, and independent: the quantiles of benchmarks/generated_rows.
    draw = np.random.default_rng(seed)
    sides = [
        np.exp(np.interp(draw.random(8000), [0.0, 0.5, 0.9, 0.99, 1.0], np.log(points)))
        for points in ([8, 47, 145, 576, 1200], [1, 5, 60, 116, 160])
    ]
    cut = [
        np.minimum(side.round().astype(int), room)
        for side, room in zip(sides, (512, 128), strict=True)
    ]
    pairs = np.column_stack(cut)
    assert rows_of(pairs, 512, 128).max() + 1 <= 1.02 * bound_of(pairs, 512, 128)


def test_lengths_out_of_range_are_refused():
    for pair in ((INPUTS_LENGTH + 1, 1), (1, TARGETS_LENGTH + 1), (-1, 1), (1, -1)):
        with pytest.raises(ValueError, match="outside"):
            rows_of([(1, 1), pair])


def test_no_example_makes_no_row():
    none = np.zeros(0, np.int64)
    assert len(pack(none, none, inputs_length=4, targets_length=4)) == 0


def real_lengths(shared_data):
    """Token lengths of demonstrations and of tasks with their definitions."""
    vocabulary = VocabularySpec.parse(str(shared_data / "vocab" / "t5_32000.model")).load()
    texts = []
    for line in (shared_data / "instruct" / "dolly_hhrlhf_train_small.jsonl").open():
        row = json.loads(line)
        texts.append((row["prompt"], row["response"]))
    for path in sorted((shared_data / "natural_instructions" / "tasks").glob("*.json"))[:60]:
        task = json.loads(path.read_text())
        definition = " ".join(task["Definition"])
        for instance in task["Instances"][:40]:
            texts.append((f"{definition}\n{instance['input']}", instance["output"][0]))
    block = Tokenizer(vocabulary, 512, 128, inputs_eos=False).block(*zip(*texts, strict=True))
    return block.heads["inputs_length"], block.heads["targets_length"]


def test_real_examples_take_at_most_three_percent_more_rows_than_the_bound(shared_data):
    inputs, targets = real_lengths(shared_data)
    order = np.random.default_rng(0).permutation(len(inputs))
    pairs = np.column_stack([inputs, targets])[order]
    rows = rows_of(pairs, 512, 128).max() + 1
    assert rows <= 1.03 * bound_of(pairs, 512, 128)


# --- Whole shards ------------------------------------------------------------------------------

LAYOUT = RowLayout(INPUTS_LENGTH, TARGETS_LENGTH, vocab_size=359, num_tasks=3)
BYTES = Tokenizer(
    VocabularySpec.parse("bytes").load(), INPUTS_LENGTH, TARGETS_LENGTH, inputs_eos=False
)

texts = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.text("abcé", max_size=INPUTS_LENGTH + 2),
        st.text("xyz", max_size=TARGETS_LENGTH + 2),
    ),
    min_size=1,
    max_size=40,
)


def blocks_of(examples):
    """A block for each task's examples."""
    for task in range(3):
        of_task = [(i, t) for number, i, t in examples if number == task]
        if of_task:
            sample = TaskSample(f"task{task}", len(of_task), len(of_task), seed=0)
            copies = draw_copies(sample, np.arange(len(of_task)), task=task, num_shards=1)
            block = BYTES.block(*(list(side) for side in zip(*of_task, strict=True)))
            yield copies.with_tokens(block).to_bytes()


def tokens_of(text, length, *, eos):
    ids = [byte + 3 for byte in text.encode()]
    return (*ids[: length - 1], 1) if eos else tuple(ids[:length])


def segments_of(rows):
    """(task, inputs, targets) of every segment, read from the model's features."""
    features = model_features(rows, task_ids=True)
    for row in range(len(rows)):
        row_of = {name: value[row] for name, value in features.items()}
        for segment in range(1, row_of["decoder_segment_ids"].max() + 1):
            encoder = row_of["encoder_segment_ids"] == segment
            decoder = row_of["decoder_segment_ids"] == segment
            (task,) = set(row_of["decoder_task_ids"][decoder])
            assert row_of["encoder_positions"][encoder].tolist() == list(range(encoder.sum()))
            assert row_of["decoder_positions"][decoder].tolist() == list(range(decoder.sum()))
            yield (
                int(task),
                tuple(row_of["encoder_input_tokens"][encoder].tolist()),
                tuple(row_of["decoder_target_tokens"][decoder].tolist()),
            )


@settings(deadline=None)
@given(texts)
def test_a_shard_holds_every_example_once_with_all_its_tokens(examples):
    rows, _ = pack_shard(blocks_of(examples), LAYOUT, seed=0, shard=0)
    expected = [
        (
            task,
            tokens_of(inputs, INPUTS_LENGTH, eos=False),
            tokens_of(targets, TARGETS_LENGTH, eos=True),
        )
        for task, inputs, targets in examples
    ]
    assert sorted(segments_of(rows)) == sorted(expected)


JOINED = dataclasses.replace(LAYOUT, joined=True)


@settings(deadline=None, max_examples=50)
@given(texts)
def test_joined_rows_hold_every_example_once_as_one_sequence(examples):
    rows, _ = pack_shard(blocks_of(examples), JOINED, seed=0, shard=0)
    features = joined_features(rows, task_ids=True)
    found = []
    for row in range(len(rows)):
        of_row = {name: value[row] for name, value in features.items()}
        assert len(of_row["decoder_target_tokens"]) == INPUTS_LENGTH + TARGETS_LENGTH
        for segment in range(1, of_row["decoder_segment_ids"].max() + 1):
            here = of_row["decoder_segment_ids"] == segment
            (task,) = set(of_row["decoder_task_ids"][here])
            tokens, of_target = (
                of_row[name][here] for name in ("decoder_target_tokens", "decoder_loss_weights")
            )
            assert of_row["decoder_positions"][here].tolist() == list(range(here.sum()))
            assert of_row["decoder_input_tokens"][here].tolist() == [0, *tokens[:-1]]
            assert (np.diff(of_target) >= 0).all()
            sides = (tuple(tokens[of_target == wanted].tolist()) for wanted in (0, 1))
            found.append((int(task), *sides))
        padding = of_row["decoder_segment_ids"] == 0
        assert not of_row["decoder_target_tokens"][padding].any()
        assert (of_row["decoder_task_ids"][padding] == -1).all()
    expected = [
        (
            task,
            tokens_of(inputs, INPUTS_LENGTH, eos=False),
            tokens_of(targets, TARGETS_LENGTH, eos=True),
        )
        for task, inputs, targets in examples
    ]
    assert sorted(found) == sorted(expected)


def test_joined_rows_are_filled_whatever_side_their_tokens_are_on():
    # 9 tokens each: two fill a row of 18 positions, which inputs of 8 alone in rows of 12 cannot.
    examples = [(0, "a" * 8, "")] * 6
    rows, block = pack_shard(blocks_of(examples), JOINED, seed=0, shard=0)
    assert len(rows) == 3 and (rows["segment_ids"] > 0).all()
    assert len(pack_shard(blocks_of(examples), LAYOUT, seed=0, shard=0)[0]) == 6
    shard = PackedShard(name="x", rows=3, size=0, sha256="")
    report = shard_report(block, JOINED, shard)
    assert report.sizes == [[9, 0, 6]]
    counts = np.zeros([room + 1 for room in JOINED.room], np.int64)
    counts[9, 0] = 6
    assert lower_bound(counts) == 3


@settings(deadline=None)
@given(texts)
def test_padding_is_zero_and_nothing_else_is_in_no_segment(examples):
    rows, _ = pack_shard(blocks_of(examples), LAYOUT, seed=0, shard=0)
    features = model_features(rows, task_ids=True)
    for side, tokens in (("encoder", "encoder_input_tokens"), ("decoder", "decoder_target_tokens")):
        padding = features[f"{side}_segment_ids"] == 0
        assert (features[tokens][padding] == 0).all()
        assert (features[tokens][~padding] != 0).all()
        assert (features[f"{side}_positions"][padding] == 0).all()
    padding = features["decoder_segment_ids"] == 0
    assert (features["decoder_loss_weights"] == ~padding).all()
    assert (features["decoder_input_tokens"][padding] == 0).all()
    assert (features["decoder_task_ids"][padding] == -1).all()


@settings(deadline=None)
@given(texts, st.randoms(use_true_random=False))
def test_a_shards_bytes_do_not_depend_on_the_order_in_which_its_examples_come(examples, random):
    blocks = list(blocks_of(examples))
    rows, _ = pack_shard(blocks, LAYOUT, seed=0, shard=0)
    random.shuffle(blocks)
    again, _ = pack_shard(blocks, LAYOUT, seed=0, shard=0)
    assert rows.tobytes() == again.tobytes()


def test_the_order_of_rows_is_a_shuffle_of_that_in_which_they_were_built():
    # Every example fills a row; rows built from the largest on would come sorted by length.
    examples = [(0, "a" * (7 + n % 6), "x") for n in range(60)]
    rows, _ = pack_shard(blocks_of(examples), LAYOUT, seed=0, shard=0)
    lengths = (rows["encoder_segment_ids"] != 0).sum(axis=1)
    assert len(lengths) == 60
    assert abs(np.corrcoef(lengths, np.arange(60))[0, 1]) < 0.4
    other, _ = pack_shard(blocks_of(examples), LAYOUT, seed=0, shard=1)
    assert rows.tobytes() != other.tobytes()


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 600), st.integers(1, 7), st.integers(0, 9))
def test_copies_are_the_same_whoever_reads_how_much_at_once(available, taken, num_shards, cut):
    sample = TaskSample("task", available, taken, seed=3)

    def drawn(positions):
        copies = draw_copies(sample, positions, task=1, num_shards=num_shards)
        assert isinstance(copies, Copies)
        return [
            (int(head["position"]), int(head["repeat"]), int(head["order"]), int(shard))
            for head, shard in zip(copies.heads, copies.shard, strict=True)
        ]

    cut = min(cut, available)
    whole = drawn(np.arange(available))
    parts = drawn(np.arange(cut)) + drawn(np.arange(cut, available))
    assert whole == parts
    assert len(whole) == taken
    assert len({order for _, _, order, _ in whole}) == taken
    assert all(0 <= shard < num_shards for *_, shard in whole)


def test_only_tokens_beyond_the_length_are_cut_and_counted():
    block = BYTES.block(["a" * 12, "a" * 13], ["x" * 5, "x" * 6])
    assert block.heads["inputs_length"].tolist() == [12, 12]
    assert block.heads["targets_length"].tolist() == [6, 6]
    assert block.heads["inputs_truncated"].tolist() == [False, True]
    assert block.heads["targets_truncated"].tolist() == [False, True]
    *_, last = itertools.pairwise(block.tokens.tolist())
    assert last == (ord("x") + 3, 1)


def test_inputs_end_with_the_end_of_sequence_where_asked():
    tokenizer = Tokenizer(BYTES.vocabulary, 3, 3, inputs_eos=True)
    block = tokenizer.block(["a", "abcd"], ["x", "y"])
    a, b, x, y = (ord(letter) + 3 for letter in "abxy")
    assert block.tokens.tolist() == [a, 1, x, 1, a, b, 1, y, 1]


def test_one_example_a_row_and_only_its_answer_and_end_have_loss():
    examples = [(0, "ab", "xyz"), (0, "", "x"), (0, "abc", "")]
    rows, _ = pack_shard(blocks_of(examples), LAYOUT, seed=0, shard=0, one_example_a_row=True)
    assert len(rows) == 3 and rows["decoder_segment_ids"].max() == 1
    features = decoder_only_features(model_features(rows))
    found = set()
    for tokens, weights, segments in zip(
        features["decoder_target_tokens"],
        features["decoder_loss_weights"],
        features["decoder_segment_ids"],
        strict=True,
    ):
        trained = tokens[weights == 1]
        assert trained[-1] == BYTES.vocabulary.eos_id
        found.add(BYTES.vocabulary.decode(tokens[segments > 0]))
        assert (weights[segments == 0] == 0).all()
        assert weights.sum() == len(trained)
    assert found == {"abxyz", "x", "abc"}
    assert features["decoder_loss_weights"].sum() == len("xyz") + len("x") + 3
