import numpy as np

from instrux.models.encoding import encode_inputs


def test_rows_encoded_a_few_at_a_time_are_those_of_the_whole_batch(model, params):
    # 1,024 positions at once: two rows of 512 where the batch allows, one where it does not.
    for batch in (4, 3):
        inputs = np.random.default_rng(0).integers(2, 97, (batch, 512)).astype(np.int32)
        inputs[1, 300:] = 0
        ours = encode_inputs(model, params, inputs)
        np.testing.assert_allclose(ours, model.encode(params, inputs), atol=1e-5)
