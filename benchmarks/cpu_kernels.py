"""The CPU kernels against XLA's own products, attention and Adafactor, on a CPU with matrix units.

Every run makes the same thing several times; results are compared with float64, or with the plain
attention in float32, before anything is timed. The peer is XLA.

    python benchmarks/cpu_kernels.py                        # T5 1.1 small's shapes, 8 x 512 rows
    python benchmarks/cpu_kernels.py --only attention --repetitions 9
"""

import argparse
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from side_by_side import race

from instrux.models import attention
from instrux.models.cpu_kernels import calls, library
from instrux.training import adafactor

# Rows, depth, columns; whether the left and the right operand are turned.
PRODUCTS = {
    "a projection": (4096, 512, 1024, False, False),
    "its gradient by the rows": (4096, 1024, 512, False, True),
    "its gradient by the kernel": (512, 4096, 1024, True, False),
    "the vocabulary": (1024, 512, 32128, False, False),
    "a step of decoding": (8, 512, 32128, False, False),
}
# Batch, heads, queries, keys, width.
ATTENTION = {"encoder": (8, 6, 512, 512, 64), "attention to inputs": (8, 6, 128, 512, 64)}
TIMES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", choices=("products", "attention", "adafactor"))
    options = parser.parse_args()
    loaded = library.load()
    if not loaded.usable:
        sys.exit(f"the kernels cannot be used here: {loaded.reason}")
    for name, function in (
        ("products", race_products),
        ("attention", race_attention),
        ("adafactor", race_adafactor),
    ):
        if options.only in (None, name):
            function(options.repetitions)


def race_products(repetitions: int) -> None:
    random = np.random.default_rng(0)
    for name, (rows, depth, columns, *turned) in PRODUCTS.items():
        left = random.normal(size=(rows, depth)).astype(np.float32)
        right = random.normal(size=(depth, columns)).astype(np.float32)
        exact = left.astype(np.float64) @ right
        given = [
            jnp.asarray(each.T if turn else each)
            for each, turn in zip((left, right), turned, strict=True)
        ]
        dimensions = ((0 if turned[0] else 1,), (1 if turned[1] else 0,)), ((), ())
        # Few rows in bfloat16 are left to XLA, which reads half as much.
        for dtype in ("float32", "bfloat16") if rows >= 32 else ("float32",):
            ours, xla = product_functions(turned, dimensions, dtype)
            operands = [each.astype(dtype) for each in given]
            errors = [
                np.abs(np.asarray(function(*operands), np.float64) - exact).max() / exact.std()
                for function in (ours, xla)
            ]
            gflop = TIMES * 2e-9 * rows * depth * columns
            print(f"\n{name}, {rows} x {depth} x {columns}, {dtype}: {gflop:.1f} GFLOP a run;")
            print(f"largest errors {errors[0]:.1e} and {errors[1]:.1e} of the standard deviation")
            race(repeated(ours, operands), repeated(xla, operands), repetitions=repetitions)


def product_functions(turned, dimensions, dtype: str) -> tuple[Callable, Callable]:
    ours = jax.jit(
        lambda left, right: calls.matrix_product(
            left,
            right,
            left_turned=turned[0],
            right_turned=turned[1],
            parts=calls.parts_of(jnp.dtype(dtype)),
            dtype=jnp.float32,
        )
    )
    xla = jax.jit(
        lambda left, right: jax.lax.dot_general(
            left, right, dimensions, preferred_element_type=jnp.float32
        )
    )
    return ours, xla


def race_attention(repetitions: int) -> None:
    random = np.random.default_rng(0)
    for name, (batch, heads, queries, keys, width) in ATTENTION.items():
        shapes = [(batch, length, heads, width) for length in (queries, keys, keys, queries)]
        drawn = [jnp.asarray(random.normal(size=shape) * 0.5, jnp.float32) for shape in shapes]
        bias = jnp.asarray(random.normal(size=(1, heads, queries, keys)), jnp.float32)
        expected = attention_function("plain", bias)(*drawn)
        for dtype in ("float32", "bfloat16"):
            arrays = [array.astype(dtype) for array in drawn]
            ours, xla = (attention_function(which, bias) for which in ("amx", "rows"))
            errors = [
                max(
                    float(jnp.abs(made.astype(jnp.float32) - right).max() / jnp.abs(right).max())
                    for made, right in zip(function(*arrays), expected, strict=True)
                )
                for function in (ours, xla)
            ]
            print(f"\n{name}, {queries} queries, {keys} keys, {dtype}, forward and backward;")
            print(f"largest errors {errors[0]:.1e} and {errors[1]:.1e} of the largest value")
            race(repeated(ours, arrays), repeated(xla, arrays), repetitions=repetitions)


def attention_function(implementation: str, bias: jax.Array) -> Callable:
    def attend(queries, keys, values, bias):
        return attention.attend(
            queries, keys, values, bias=bias, mask=None, implementation=implementation
        )

    def both(queries, keys, values, cotangent):
        output, pull = jax.vjp(attend, queries, keys, values, bias)
        return output, *pull(cotangent)

    return jax.jit(both)


def race_adafactor(repetitions: int) -> None:
    shapes = {"vocabulary": (32128, 512), "layers": (32, 512, 1024)}
    axes = {"vocabulary": ("vocab", "embed"), "layers": ("layers", "embed", "mlp")}
    random = np.random.default_rng(0)
    params, gradients = (
        {
            name: jnp.asarray(random.normal(size=shape), jnp.float32)
            for name, shape in shapes.items()
        }
        for _ in range(2)
    )
    optimizer = adafactor.adafactor(1e-3, axes)

    def update():
        def step(params, state, gradients):
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        return jax.jit(step).lower(params, optimizer.init(params), gradients).compile()

    ours = update()
    available, library.available = library.available, lambda: False
    xla = update()
    library.available = available
    given = [params, optimizer.init(params), gradients]
    for mine, other in zip(
        jax.tree.leaves(ours(*given)), jax.tree.leaves(xla(*given)), strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)
    print("\nan update by Adafactor of 33 million parameters, the same to 1e-5")
    race(repeated(ours, given), repeated(xla, given), repetitions=repetitions)


def repeated(function: Callable, operands: list) -> Callable[[], None]:
    def run() -> None:
        for _ in range(TIMES):
            jax.block_until_ready(function(*operands))

    return run


if __name__ == "__main__":
    main()
