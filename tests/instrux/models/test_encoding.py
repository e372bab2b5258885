import numpy as np
import pytest

from instrux.models.encoding import _rows_at_once, encode_inputs


def test_rows_encoded_a_few_at_a_time_are_those_of_the_whole_batch(model, params):
    # 4,096 positions at once: eight rows of 512 where the batch allows, three where it does not.
    for batch in (16, 9):
        inputs = np.random.default_rng(0).integers(2, 97, (batch, 512)).astype(np.int32)
        inputs[1, 300:] = 0
        ours = encode_inputs(model, params, inputs)
        np.testing.assert_allclose(ours, model.encode(params, inputs), atol=1e-5)


@pytest.mark.parametrize(
    ("batch", "length", "rows"),
    [(8, 512, 8), (32, 176, 16), (24, 512, 8), (12, 512, 6), (11, 512, 1), (2, 8192, 1)],
)
def test_as_many_rows_as_divide_the_batch_are_encoded_at_once(batch, length, rows):
    assert _rows_at_once(batch, length) == rows
