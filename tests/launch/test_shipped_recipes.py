"""Every recipe that comes with Instrux is parsed, finalised, and its folders follow OUT."""

import itertools
import re
from types import SimpleNamespace

import gin
import pytest

from instrux.errors import InputError
from launch import gin_config, recipe, stages

RECIPES = sorted((gin_config.folder() / "recipes").rglob("*.gin"))


def _given(path):
    """What a recipe of a paper's size cannot know: the checkpoint it starts from, and T5's vocabulary."""
    asked = ["INITIAL_CHECKPOINT_PATH"] if re.search(r"_\d+[mb](_|$)", path.stem) else []
    asked += re.findall(r"^(\w*CHECKPOINT) = %gin.REQUIRED", path.read_text(), re.MULTILINE)
    return [
        *(f"{name}='/a/checkpoint'" for name in asked),
        *(["VOCABULARY='/a/model'"] * bool(asked)),
        *(
            ["INPUTS=('dolly=/a/file.jsonl',)"]
            * (path.parent.name == "instructgpt" or path.stem == "compare_3b")
        ),
    ]


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_complete_and_writes_below_out(path):
    loaded = recipe.load(str(path), ["OUT='/somewhere/else'", *_given(path)])
    for stage in itertools.chain.from_iterable(loaded.groups()):
        scope, _, name = stage.rpartition("/")
        function = stages.function(name)
        with gin.config_scope(scope or None):
            bound = gin.get_bindings(function, resolve_references=False)
            assert bound, f"{stage}: nothing is bound"
    with gin.config_scope(None):
        assert gin.query_parameter("%OUT") == "/somewhere/else"
    assert gin_config.macro("DATA_DIR").startswith("/somewhere/else/")


# arXiv 2110.08207, section 5; the mixtures as its public code names them; widths of T5 1.1.
@pytest.mark.parametrize("size, width, heads", [("3b", 2048, 32), ("11b", 4096, 64)])
@pytest.mark.parametrize(
    "stem, mixture",
    [
        ("t0", "t0_train"),
        ("t0_plus", "t0+_train"),
        ("t0_plus_plus", "t0++_train"),
        ("p1", "t0_train_one_og_prompt"),
        ("p5_7", "t0_train_all_og_prompts"),
    ],
)
def test_t0s_recipes_have_the_papers_numbers(stem, mixture, size, width, heads):
    path = gin_config.folder() / "recipes" / "t0" / f"{stem}_{size}.gin"
    recipe.load(str(path), _given(path))
    bound = gin.get_bindings(stages.function("train"))
    assert (bound["batch_size"], bound["train_steps"]) == (1024, 12_200)
    assert bound["pack"].inputs_length * bound["batch_size"] == 2**20
    assert (bound["pack"].mixture, bound["pack"].targets_length) == (mixture, 256)
    assert not bound["pack"].inputs_eos
    assert [bound["learning_rate"](step) for step in (0, 1, 12_199)] == [1e-3] * 3
    assert type(bound["optimizer"]).__name__ == "Adafactor"
    model = bound["model"]
    assert (model.emb_dim, model.num_heads, model.dropout_rate) == (width, heads, 0.1)
    assert model.dtype == "bfloat16"
    evaluated = gin.get_bindings(stages.function("evaluate"))
    assert evaluated["mixtures"] == ("t0_eval_score_eval",)
    chosen = gin.get_bindings(stages.function("select"))
    assert chosen["mixtures"] == ("t0_train_score_eval",)


# arXiv 2203.02155, appendix C.1 and table 6; 12,725 prompts over 32 (or 8), 16 (or 2) times.
@pytest.mark.parametrize(
    ("stem", "width", "layers", "peak", "batch", "steps"),
    [
        ("sft_1_3b", 2048, 24, 9.65e-6, 32, 16 * 398),
        ("sft_6b", 4096, 32, 9.65e-6, 32, 16 * 398),
        ("sft_175b", 12288, 96, 5.03e-6, 8, 16 * 1591),
        ("ppo_init_1_3b", 2048, 24, 5e-6, 32, 2 * 398),
        ("ppo_init_6b", 4096, 32, 1.04e-5, 32, 2 * 398),
        ("ppo_init_175b", 12288, 96, 2.45e-6, 8, 2 * 1591),
    ],
)
def test_instructgpts_recipes_have_the_papers_numbers(
    monkeypatch, stem, width, layers, peak, batch, steps
):
    monkeypatch.setattr("instrux.data.rendered.RenderedSplit.count", 12_725)
    monkeypatch.setattr("launch.epochs.read_manifest", lambda _: SimpleNamespace(rows=12_725))
    path = gin_config.folder() / "recipes" / "instructgpt" / f"{stem}.gin"
    recipe.load(str(path), [*_given(path), "VOCABULARY='bytes'"])
    bound = gin.get_bindings(stages.function("train"))
    model = bound["model"]
    assert (model.emb_dim, model.num_layers, model.max_positions) == (width, layers, 2048)
    assert (model.dropout_rate, model.residual_dropout_only) == (0.2, True)
    assert (model.prompt_loss_weight, model.bos_id) == (0.0, 50256)
    assert (bound["batch_size"], bound["train_steps"]) == (batch, steps)
    assert bound["pack"].one_example_a_row and bound["pack"].num_examples == 12_725
    assert bound["eval_pack"].split == "validation" and bound["eval_batches"] is None
    rate = bound["learning_rate"]
    assert float(rate(0)) == pytest.approx(peak)
    assert float(rate(steps // 2)) == pytest.approx(0.55 * peak, rel=1e-3)  # half a cosine's middle
    assert float(rate(steps)) == pytest.approx(0.1 * peak)
    assert (bound["optimizer"].b1, bound["optimizer"].b2) == (0.9, 0.95)
    # Every epoch is measured and kept, and nothing ends the run before its last.
    epochs = bound["keep_checkpoints"]
    assert bound["checkpoint_every_steps"] == bound["eval_every_steps"] == steps // epochs
    assert "max_seconds" not in bound


def test_a_recipe_of_paper_size_asks_for_its_checkpoint():
    path = gin_config.folder() / "recipes" / "t0" / "t0_3b.gin"
    with pytest.raises(InputError, match=r"--gin\.INITIAL_CHECKPOINT_PATH=VALUE"):
        recipe.load(str(path), [])


def test_there_are_the_recipes_that_the_readme_names():
    names = {path.name for path in RECIPES}
    assert {"quickstart.gin", "quickstart_prompts.gin", "p3_sample.gin"} <= names
