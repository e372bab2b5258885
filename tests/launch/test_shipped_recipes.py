"""Every recipe that comes with Instrux is parsed, finalised, and its folders follow OUT."""

import itertools

import gin
import pytest

from launch import gin_config, recipe, stages

RECIPES = sorted((gin_config.folder() / "recipes").glob("*.gin"))


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_is_complete_and_writes_below_out(path):
    loaded = recipe.load(str(path), ["OUT='/somewhere/else'"])
    for stage in itertools.chain.from_iterable(loaded.groups()):
        scope, _, name = stage.rpartition("/")
        function = stages.function(name)
        with gin.config_scope(scope or None):
            bound = gin.get_bindings(function, resolve_references=False)
            assert bound, f"{stage}: nothing is bound"
    with gin.config_scope(None):
        assert gin.query_parameter("%OUT") == "/somewhere/else"
    assert gin_config.macro("DATA_DIR").startswith("/somewhere/else/")


def test_there_are_the_recipes_that_the_readme_names():
    names = {path.name for path in RECIPES}
    assert {"quickstart.gin", "quickstart_prompts.gin", "p3_sample.gin"} <= names
