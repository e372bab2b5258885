import gin
import pytest

from launch import gin_config

RECIPE = """
from __gin__ import dynamic_registration
from launch import recipe
OUT = "here"
recipe.Recipe.stages = ("render",)
"""


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


@pytest.fixture
def recipe_file(tmp_path):
    file = tmp_path / "some.gin"
    file.write_text(RECIPE)
    return file


def test_a_binding_overrides_a_macro_of_the_file(recipe_file):
    gin_config.parse([str(recipe_file)], ["OUT='there'"])
    assert gin.query_parameter("%OUT") == "there"


@pytest.mark.parametrize(
    ("binding", "named", "mend"),
    [
        ("OUTT='there'", "OUTT", "Did you mean 'OUT'?"),
        ("recipe.Recipe.stagez=('render',)", "stagez", "Did you mean 'stages'?"),
        ("recipe.Recip.stages=('render',)", "recipe.Recip", "Did you mean 'recipe.Recipe'?"),
        ("OUT=('render'", "OUT=('render'", "close it"),
        ("nonsense", "nonsense", ""),
    ],
)
def test_a_wrong_binding_is_told_in_one_line(recipe_file, binding, named, mend):
    with pytest.raises(gin_config.GinError) as caught:
        gin_config.parse([str(recipe_file)], [binding])
    message = str(caught.value)
    assert "\n" not in message
    assert named in message
    assert mend in message


def test_a_missing_file_names_the_shipped_ones(tmp_path):
    with pytest.raises(gin_config.GinError, match=r"no gin file 'quickstrt\.gin'"):
        gin_config.parse(["quickstrt.gin"])


def test_a_file_with_a_wrong_parameter_names_file_and_line(tmp_path):
    file = tmp_path / "wrong.gin"
    file.write_text(RECIPE + "recipe.Recipe.stagez = 3\n")
    with pytest.raises(gin_config.GinError, match=r"stagez.*wrong\.gin.*line 6"):
        gin_config.parse([str(file)])


def test_a_module_that_a_file_imports_and_is_not_there_is_named(tmp_path):
    file = tmp_path / "wrong.gin"
    file.write_text("from __gin__ import dynamic_registration\nimport acme_nowhere\n")
    with pytest.raises(gin_config.GinError, match="acme_nowhere"):
        gin_config.parse([str(file)])


def test_a_file_that_binds_what_it_does_not_import_is_told(tmp_path):
    file = tmp_path / "wrong.gin"
    file.write_text(RECIPE + "stages.render.data_dir = 'x'\n")
    with pytest.raises(gin_config.GinError, match=r"stages"):
        gin_config.parse([str(file)])


def test_a_folder_that_is_called_as_ours_hides_nothing(tmp_path, monkeypatch):
    for name in ("runs", "models", "recipes"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m` and notebooks do
    gin_config.parse(["t0/t0_tiny.gin"])
    assert gin_config.macro("MIXTURE_OR_TASK_NAME") == "p3_sample_train"
