import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.data.decoder_rows import decoder_only_features
from instrux.data.packed_rows import TASK_IDS, RowLayout, model_features

LAYOUT = RowLayout(inputs_length=6, targets_length=5, vocab_size=100, num_tasks=9)


def row_of(examples):
    """A packed row of (inputs, targets, task)."""
    row = np.zeros(1, LAYOUT.dtype)
    inputs_end = targets_end = 0
    for number, (inputs, targets, task) in enumerate(examples):
        for tokens, ids, end, values in (
            ("encoder_input_tokens", "encoder_segment_ids", inputs_end, inputs),
            ("decoder_target_tokens", "decoder_segment_ids", targets_end, targets),
        ):
            row[tokens][0, end : end + len(values)] = values
            row[ids][0, end : end + len(values)] = number + 1
        row["segment_tasks"][0, number] = task
        inputs_end, targets_end = inputs_end + len(inputs), targets_end + len(targets)
    return model_features(row, task_ids=True)


def test_inputs_and_targets_of_a_segment_stand_one_after_the_other():
    ours = decoder_only_features(row_of([([11, 12], [21, 1], 4), ([], [31, 1], 7)]))
    expected = {
        "decoder_target_tokens": [11, 12, 21, 1, 31, 1, 0, 0, 0, 0, 0],
        "decoder_input_tokens": [0, 11, 12, 21, 0, 31, 0, 0, 0, 0, 0],
        "decoder_loss_weights": [0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        "decoder_causal_attention": [1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0],
        "decoder_segment_ids": [1, 1, 1, 1, 2, 2, 0, 0, 0, 0, 0],
        "decoder_positions": [0, 1, 2, 3, 0, 1, 0, 0, 0, 0, 0],
        TASK_IDS: [4, 4, 4, 4, 7, 7, -1, -1, -1, -1, -1],
    }
    assert {name: array[0].tolist() for name, array in ours.items()} == expected
    assert all(array.dtype == np.int32 for array in ours.values())


@st.composite
def packed_examples(draw):
    examples, room = [], [6, 5]
    while room[1] and draw(st.booleans()):
        lengths = draw(st.integers(0, room[0])), draw(st.integers(1, room[1]))
        room = [left - taken for left, taken in zip(room, lengths, strict=True)]
        token = st.integers(1, 99)
        sides = [draw(st.lists(token, min_size=n, max_size=n)) for n in lengths]
        examples.append((*sides, draw(st.integers(0, 8))))
    return examples


@settings(deadline=None, max_examples=60)
@given(packed_examples())
def test_every_example_is_found_again(examples):
    features = {name: array[0] for name, array in decoder_only_features(row_of(examples)).items()}
    for number, (inputs, targets, task) in enumerate(examples):
        here = features["decoder_segment_ids"] == number + 1
        whole = [*inputs, *targets]
        assert features["decoder_target_tokens"][here].tolist() == whole
        assert features["decoder_input_tokens"][here].tolist() == [0, *whole[:-1]]
        assert features["decoder_loss_weights"][here].sum() == len(targets)
        assert features["decoder_causal_attention"][here].sum() == min(len(inputs) + 1, len(whole))
        assert (features[TASK_IDS][here] == task).all()
