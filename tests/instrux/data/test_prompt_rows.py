import numpy as np
import pytest

from instrux.data.prompt_rows import PromptedSource, with_prompts
from instrux.errors import InputError


def batch():
    """A row of two examples, and one of an example without inputs behind one with."""
    return {
        "encoder_input_tokens": np.array([[5, 6, 7, 0], [8, 0, 0, 0]], np.int32),
        "encoder_segment_ids": np.array([[1, 1, 2, 0], [1, 0, 0, 0]], np.int32),
        "decoder_target_tokens": np.array([[9, 1, 1], [1, 9, 1]], np.int32),
        "decoder_segment_ids": np.array([[1, 1, 2], [1, 2, 2]], np.int32),
    }


def test_every_example_gets_the_prompt_in_front():
    ids = np.array([90, 91], np.int32)
    made = with_prompts(batch(), ids, most_examples=3)
    expected = {
        "encoder_input_tokens": [
            [90, 91, 5, 6, 90, 91, 7, 0, 0, 0],
            [90, 91, 8, 90, 91, 0, 0, 0, 0, 0],
        ],
        "encoder_segment_ids": [
            [1, 1, 1, 1, 2, 2, 2, 0, 0, 0],
            [1, 1, 1, 2, 2, 0, 0, 0, 0, 0],
        ],
        "encoder_positions": [
            [0, 1, 2, 3, 0, 1, 2, 0, 0, 0],
            [0, 1, 2, 0, 1, 0, 0, 0, 0, 0],
        ],
    }
    for name, array in expected.items():
        assert made[name].dtype == np.int32
        np.testing.assert_array_equal(made[name], array)
    np.testing.assert_array_equal(made["decoder_segment_ids"], batch()["decoder_segment_ids"])


def test_a_row_of_too_many_examples_is_told():
    class Source:
        def batches(self):
            yield batch()

    with pytest.raises(InputError, match="holds 2 examples, and there is room for 1"):
        next(PromptedSource(Source(), (90,), 1).batches())
