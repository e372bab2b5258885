"""Products and attention of the CPU kernels against float64 and against the plain attention."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.models import attention
from instrux.models.cpu_kernels import calls, library

pytestmark = pytest.mark.skipif(library.why_not() is not None, reason=str(library.why_not()))


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    assert library.load().usable, library.load().reason


def _drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _product(left, right, *, turned=(False, False), parts=3, dtype=jnp.float32) -> np.ndarray:
    left, right = (
        array.T if turn else array for array, turn in zip((left, right), turned, strict=True)
    )
    made = calls.matrix_product(
        jnp.asarray(left),
        jnp.asarray(right),
        left_turned=turned[0],
        right_turned=turned[1],
        parts=parts,
        dtype=dtype,
    )
    assert made.dtype == dtype
    return np.asarray(made, np.float64)


# Few: every new shape is a new program. Sizes on both sides of tiles of 16, pairs of 32 and depth.
@settings(max_examples=12, deadline=None)
@given(
    sizes=st.tuples(*[st.sampled_from([1, 15, 16, 17, 33, 64, 100])] * 3),
    turned=st.tuples(st.booleans(), st.booleans()),
)
def test_a_product_of_any_shape_is_that_of_float64(sizes, turned):
    rows, depth, columns = sizes
    left, right = _drawn(1, rows, depth), _drawn(2, depth, columns)
    exact = left.astype(np.float64) @ right.astype(np.float64)
    largest = np.abs(left).astype(np.float64) @ np.abs(right)
    # A float32 sum of `depth` terms may be off by depth * 2^-24 of their absolute sum.
    error = np.abs(_product(left, right, turned=turned) - exact)
    assert (error <= largest * 2.0**-21).all()


@pytest.mark.parametrize("rows", [1, 7, 8, 21])
@pytest.mark.parametrize("columns", [1100, 2300])
def test_few_rows_by_a_matrix_as_it_lies(rows, columns):
    # Threads share short lines and add up, long ones by columns. A part of a vector in each, and a
    # depth that is no multiple of what is read together.
    left, right = _drawn(11, rows, 530), _drawn(12, 530, columns)
    exact = left.astype(np.float64) @ right.astype(np.float64)
    np.testing.assert_allclose(_product(left, right), exact, atol=2e-6 * np.abs(exact).max())


def test_calls_at_the_same_time_do_not_mix_their_work():
    shapes = [(8, 512, 512), (64, 256, 320), (5, 300, 700), (100, 640, 96)]
    pairs = [(_drawn(n, a, b), _drawn(n + 9, b, c)) for n, (a, b, c) in enumerate(shapes)]
    alone = [_product(*pair) for pair in pairs]
    with ThreadPoolExecutor(len(pairs)) as threads:
        for _ in range(50):
            together = list(threads.map(lambda pair: _product(*pair), pairs))
            for made, expected in zip(together, alone, strict=True):
                np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False)])
def test_long_sums_and_many_columns_go_in_blocks(turned):
    # Deeper than a block of depth, more columns than a task's sums, more rows than a task.
    left, right = _drawn(3, 300, 1100), _drawn(4, 1100, 1100)
    exact = left.astype(np.float64) @ right.astype(np.float64)
    made = _product(left, right, turned=turned)
    np.testing.assert_allclose(made, exact, atol=1e-6 * np.abs(exact).max())


def test_the_right_operand_may_be_larger_than_what_is_laid_out_at_a_time():
    left, right = _drawn(5, 40, 1024), _drawn(6, 1024, 6000)  # 36 MB in tiles, more than 32
    exact = left.astype(np.float64) @ right.astype(np.float64)
    np.testing.assert_allclose(_product(left, right), exact, atol=1e-6 * np.abs(exact).max())


def test_one_part_rounds_operands_to_bfloat16_and_sums_in_float32():
    left, right = _drawn(7, 50, 300), _drawn(8, 300, 70)
    rounded = [np.asarray(jnp.asarray(each, jnp.bfloat16), np.float64) for each in (left, right)]
    made = _product(left, right, parts=1)
    np.testing.assert_allclose(made, rounded[0] @ rounded[1], atol=1e-4)
    given = [jnp.asarray(each, jnp.bfloat16) for each in (left, right)]
    np.testing.assert_array_equal(_product(*given, parts=1), made)
    in_bfloat16 = _product(*given, parts=1, dtype=jnp.bfloat16)
    np.testing.assert_array_equal(in_bfloat16, np.asarray(jnp.asarray(made, jnp.bfloat16)))


def test_what_is_not_finite_does_not_become_finite():
    left = np.ones((33, 40), np.float32)
    left[3, 5], left[4, 6], left[5, 7] = np.inf, -np.inf, np.nan
    for parts in (1, 3):
        made = _product(left, np.ones((40, 33), np.float32), parts=parts)
        assert not np.isfinite(made[3:6]).any()
        np.testing.assert_array_equal(np.delete(made, [3, 4, 5], axis=0), 40.0)


def test_tiny_and_huge_numbers_keep_their_bits():
    left = np.diag(np.asarray([2.0**-80, 2.0**100, 1 + 2.0**-23, -(2.0**-60)] * 8, np.float32))
    right = np.full((32, 32), 1 + 2.0**-12, np.float32)
    np.testing.assert_allclose(_product(left, right), left @ right, rtol=2.0**-23)


def test_a_product_can_be_mapped_over_an_axis():
    left, right = _drawn(9, 3, 32, 40), _drawn(10, 40, 48)
    made = jax.vmap(lambda one: calls.matrix_product(one, right, parts=3, dtype=jnp.float32))(left)
    np.testing.assert_allclose(made, left @ right, rtol=1e-5, atol=1e-5)


_MASKS = {
    "none": None,
    "padding": lambda random, batch, queries, keys: random.random((batch, 1, 1, keys)) < 0.7,
    "packed": lambda random, batch, queries, keys: random.random((batch, 1, queries, keys)) < 0.5,
    "causal": lambda random, batch, queries, keys: np.tri(queries, keys, dtype=bool)[None, None],
}


def _attention_inputs(shape, mask, dtype):
    batch, heads, queries, keys, width = shape
    random = np.random.default_rng(0)

    def drawn(*sizes):
        return jnp.asarray(random.normal(size=sizes) * 0.5, dtype)

    arrays = [drawn(batch, length, heads, width) for length in (queries, keys, keys, queries)]
    bias = jnp.asarray(random.normal(size=(1, heads, queries, keys)), jnp.float32)
    made = _MASKS[mask]
    return arrays, bias, None if made is None else jnp.asarray(made(random, batch, queries, keys))


def _output_and_gradients(function, arrays, bias, mask):
    *inputs, cotangent = arrays
    if bias is None:
        output, pull = jax.vjp(lambda *given: function(*given, None, mask), *inputs)
    else:
        output, pull = jax.vjp(lambda *given: function(*given, mask), *inputs, bias)
    return output, *pull(cotangent.astype(output.dtype))


def _plain(queries, keys, values, bias, mask):
    return attention.attend(queries, keys, values, bias=bias, mask=mask, implementation="plain")


# Batch, heads, queries, keys, width: no multiple of a tile; several blocks of queries; T5's widths.
@pytest.mark.parametrize(
    ("shape", "mask"),
    [
        ((2, 3, 37, 70, 24), "packed"),
        ((1, 2, 300, 520, 64), "padding"),
        ((2, 2, 64, 64, 16), "causal"),
        ((3, 1, 33, 16, 80), "none"),
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 4e-6), ("bfloat16", 0.02)])
def test_attention_and_its_gradients_are_those_of_the_plain_one(shape, mask, dtype, tolerance):
    arrays, bias, mask = _attention_inputs(shape, mask, dtype)
    made = jax.jit(lambda *given: _output_and_gradients(calls.attention, *given, mask))(
        arrays, bias
    )
    exact = [array.astype(jnp.float32) for array in arrays]
    expected = jax.jit(lambda *given: _output_and_gradients(_plain, *given, mask))(exact, bias)
    for name, ours, theirs in zip(
        ("output", "queries", "keys", "values", "bias"), made, expected, strict=True
    ):
        assert ours.dtype == (dtype if name != "bias" else jnp.float32)
        error = np.abs(np.asarray(ours, np.float32) - np.asarray(theirs)).max()
        assert error <= tolerance * np.abs(theirs).max(), name


def test_attention_without_bias_has_no_gradient_by_it():
    arrays, _, mask = _attention_inputs((2, 2, 40, 48, 16), "padding", "float32")
    made = _output_and_gradients(calls.attention, arrays, None, mask)
    expected = _output_and_gradients(_plain, arrays, None, mask)
    assert len(made) == len(expected) == 4
    for ours, theirs in zip(made, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_a_query_that_sees_nothing_gets_the_mean_of_the_values():
    arrays, bias, _ = _attention_inputs((1, 2, 33, 40, 16), "none", "float32")
    mask = jnp.ones((1, 1, 33, 40), bool).at[0, 0, 5].set(False)
    output, *gradients = _output_and_gradients(calls.attention, arrays, bias, mask)
    np.testing.assert_allclose(output[0, 5], arrays[2][0].mean(axis=0), atol=1e-6)
    by_queries, _, _, by_bias = gradients
    assert not np.asarray(by_queries[0, 5]).any() and not np.asarray(by_bias[0, :, 5]).any()


# The second of no multiple of a vector, and with several queries a row.
@pytest.mark.parametrize("shape", [(3, 1, 6, 64, 96, 128), (2, 3, 5, 24, 37, 50)])
def test_a_step_attends_to_the_inputs_as_with_keys_and_values(shape):
    batch, count, heads, width, length, embed = shape
    queries, encoded = _drawn(1, batch, count, heads, width), _drawn(2, batch, length, embed)
    key, value = _drawn(3, heads, width, embed) * 0.1, _drawn(4, heads, embed, width)
    mask = np.random.default_rng(5).random((batch, 1, 1, length)) < 0.7
    keys = np.einsum("ble,hde->blhd", encoded, key)
    values = np.einsum("ble,hed->blhd", encoded, value)
    expected = _plain(queries, keys, values, None, mask)
    made = jax.jit(calls.inputs_step)(queries, key, value, encoded, mask)
    np.testing.assert_allclose(made, expected, atol=5e-6 * np.abs(expected).max())


def test_the_same_call_gives_the_same_bits():
    arrays, bias, mask = _attention_inputs((4, 3, 128, 128, 64), "packed", "float32")
    function = jax.jit(lambda *given: _output_and_gradients(calls.attention, *given, mask))
    first = function(arrays, bias)
    for _ in range(5):
        for one, other in zip(first, function(arrays, bias), strict=True):
            np.testing.assert_array_equal(one, other)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(Exception, match="shapes of a product do not fit"):
        calls.matrix_product(
            jnp.ones((32, 40)), jnp.ones((41, 32)), parts=3, dtype=jnp.float32
        ).block_until_ready()


def test_dtypes_that_are_not_known_are_refused():
    with pytest.raises(Exception, match="products are of float32 and bfloat16"):
        calls.matrix_product(
            jnp.ones((32, 40)), jnp.ones((40, 32), jnp.int32), parts=3, dtype=jnp.float32
        ).block_until_ready()
    arrays, bias, _ = _attention_inputs((1, 2, 33, 40, 16), "none", "float32")
    with pytest.raises(Exception, match="the same for all"):
        calls.attention(arrays[0], arrays[1].astype(jnp.bfloat16), arrays[2], bias, None)
