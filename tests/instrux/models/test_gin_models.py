from pathlib import Path

import gin
import jax
import pytest

from instrux.models import t5

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
    assert isinstance(config, t5.T5Config)
    jax.eval_shape(t5.T5(config).init, jax.random.key(0))


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
