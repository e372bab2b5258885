import gin
import pytest

from launch import gin_config
from launch.out_folder import under


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("runs", "runs/data"),
        ("runs/", "runs/data"),
        ("gs://bucket/a", "gs://bucket/a/data"),
        ("/", "/data"),
    ],
)
def test_a_path_below_a_folder(out, expected):
    assert under(out=out, path="data") == expected


@pytest.mark.parametrize("recipe", ["quickstart.gin", "quickstart_prompts.gin"])
def test_every_path_of_the_lexicon_recipes_is_below_out(recipe):
    gin_config.parse([recipe], ["OUT='/elsewhere'"])
    paths = [
        gin.query_parameter(f"{scope}/launch.out_folder.under.path")
        for scope in ("data", "vocabulary")
    ]
    assert paths == ["data", "data/vocab/lexicon/spiece.model:0"]
    with gin.config_scope("data"):
        assert gin.get_configurable(under)() == "/elsewhere/data"
    text = gin_config.find(recipe).read_text()
    assert '"quickstart/' not in text and '"quickstart_prompts/' not in text
