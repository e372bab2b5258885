from pathlib import Path

import gin
import jax
import pytest

from instrux.models import families, t5

FOLDER = Path(__file__).parents[3] / "gin" / "models"


@pytest.fixture(autouse=True)
def clear_gin():
    gin.clear_config()
    yield
    gin.clear_config()


def configured(name):
    gin.parse_config_file(str(FOLDER / f"{name}.gin"))
    return gin.query_parameter("%MODEL").scoped_configurable_fn()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.gin")), ids=lambda path: path.stem)
def test_every_model_file_gives_a_model(path):
    config = configured(path.stem)
    jax.eval_shape(families.model_of(config).init, jax.random.key(0))


# What transformers counts in the released gpt2, gpt2-medium, gpt2-large and gpt2-xl.
@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("small", 124_439_808),
        ("medium", 354_823_168),
        ("large", 774_030_080),
        ("xl", 1_557_611_200),
    ],
)
def test_sizes_are_gpt_2s(size, count):
    model = families.model_of(configured(f"gpt2_{size}"))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert sum(array.size for array in jax.tree.leaves(shapes)) == count


# The released checkpoints' numbers of parameters, as Hugging Face counts google/t5-v1_1-*.
@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("small", 76_961_152),
        ("base", 247_577_856),
        ("large", 783_150_080),
        ("xl", 2_849_757_184),
        ("xxl", 11_135_332_352),
    ],
)
def test_sizes_are_t5_1_1s(size, count):
    model = t5.T5(configured(f"t5_1_1_{size}"))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert sum(array.size for array in jax.tree.leaves(shapes)) == count
