import jax
import numpy as np
from flax import nnx

from instrux.models.relative_bias import RelativePositionBias, relative_position_bucket


def buckets(distances, *, bidirectional):
    return relative_position_bucket(
        np.array(distances), bidirectional=bidirectional, num_buckets=32, max_distance=128
    ).tolist()


def test_causal_buckets():
    # 16 exact ones, then 16 + floor(16 * ln(n / 16) / ln(8)): n = 20 gives 17.7, n = 40 gives
    # 23.05, n = 100 gives 30.1, and 128 or more the last.
    before = [0, -1, -15, -16, -20, -40, -100, -128, -5000]
    assert buckets(before, bidirectional=False) == [0, 1, 15, 16, 17, 23, 30, 31, 31]
    assert buckets([1, 2, 500], bidirectional=False) == [0, 0, 0]


def test_bidirectional_buckets():
    # Half the buckets a direction: 8 exact ones, then 8 + floor(8 * ln(n / 8) / ln(16)):
    # n = 10 gives 8.6, n = 12 gives 9.2, n = 50 gives 13.3.
    before = [0, -1, -7, -8, -10, -12, -50, -128, -900]
    assert buckets(before, bidirectional=True) == [0, 1, 7, 8, 8, 9, 13, 15, 15]
    after = [1, 7, 8, 12, 50, 128]
    assert buckets(after, bidirectional=True) == [17, 23, 24, 25, 29, 31]


def test_bias_is_the_bucket_of_key_less_query(config):
    module = RelativePositionBias(config, bidirectional=True, rngs=nnx.Rngs(params=0))
    table = np.asarray(module.rel_embedding[...])
    bias = np.asarray(jax.jit(lambda: module(5, 9))())
    assert bias.shape == (1, config.num_heads, 5, 9)
    for query in range(5):
        for key in range(9):
            bucket = buckets([key - query], bidirectional=True)[0]
            np.testing.assert_allclose(bias[0, :, query, key], table[:, bucket], rtol=1e-6)
