"""FLAN's recipes hold the paper's numbers, and name mixtures that there are."""

import re

import gin
import pytest

pytest.importorskip("seqio")

import mixtures.flan
import mixtures.flan_cot
import mixtures.flan_sample  # noqa: F401
from instrux.data import registration
from instrux.data.name_families import name_families
from instrux.errors import InputError
from launch import gin_config, recipe, stages
from launch.training_data import rows_of_tokens
from tasks.flan_table import all_datasets

FOLDER = gin_config.folder() / "recipes" / "flan"
RECIPES = sorted(FOLDER.glob("*.gin"))
SWEEPS = ("leave_one_cluster_out", "clusters", "templates", "instructions", "few_shot")
# Brown et al. 2020, table 2.1; T5 1.1's released sizes.
WIDTHS = {"3b": 2048, "decoder_7b": 4096}


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


def load(name):
    path = FOLDER / f"{name}.gin"
    asked = re.findall(r"^(\w*CHECKPOINT) = %gin.REQUIRED", path.read_text(), re.MULTILINE)
    asked += [] if asked or "tiny" in name else ["INITIAL_CHECKPOINT_PATH"]
    given = [f"{each}='/{each.lower()}'" for each in asked]
    given += [] if "tiny" in name else ["VOCABULARY='bytes'"]
    return recipe.load(str(path), ["OUT='/out'", *given])


def bound(stage):
    scope, _, name = stage.rpartition("/")
    with gin.config_scope(scope or None):
        return gin.get_bindings(stages.function(name))


def stages_of(loaded, name):
    flat = [stage for group in loaded.groups() for stage in group]
    return [stage for stage in flat if stage.rpartition("/")[2] == name]


# arXiv 2109.01652, section 2.4: Adafactor at 3e-5, 8,192 tokens a batch, 30,000 steps, 1,024 and 256
# tokens, packed; end of sequence between inputs and targets.
@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("sweep", SWEEPS)
def test_recipes_of_paper_size_have_the_papers_numbers(sweep, size):
    loaded = load(f"{sweep}_{size}")
    trained = [bound(stage) for stage in stages_of(loaded, "train")]
    for each in (trained[0], trained[-1]):
        pack = each["pack"]
        assert (pack.inputs_length, pack.targets_length, pack.inputs_eos) == (1024, 256, True)
        assert each["batch_size"] * pack.inputs_length == 8192
        assert each["train_steps"] == 30_000
        assert [each["learning_rate"](step) for step in (0, 1, 29_999)] == [3e-5] * 3
        assert type(each["optimizer"]).__name__ == "Adafactor"
        assert (each["model"].emb_dim, each["model"].dtype) == (WIDTHS[size], "bfloat16")
    assert len({each["model_dir"] for each in trained}) == len(trained)
    # No checkpoint is chosen: the newest is evaluated, which is the last.
    assert all("step" not in bound(stage) for stage in stages_of(loaded, "evaluate"))


# Models that each experiment takes: 12 clusters of the paper, 7 numbers of clusters, 1 to 4 datasets
# by 1, 4 and 10 templates, 3 forms on 4 clusters, 2 forms on 7 clusters.
@pytest.mark.parametrize(
    "sweep, models",
    [
        ("leave_one_cluster_out", 12),
        ("clusters", 7),
        ("templates", 12),
        ("instructions", 12),
        ("few_shot", 14),
    ],
)
def test_a_sweep_trains_every_model_and_asks_it_for_what_it_has_not_seen(sweep, models):
    loaded = load(f"{sweep}_3b")
    trained = stages_of(loaded, "train")
    assert len(trained) == models
    evaluated = stages_of(loaded, "evaluate")
    folders = {bound(stage)["model_dir"] for stage in trained}
    assert {bound(stage)["model_dir"] for stage in evaluated} == folders
    shown = bound("report")["runs"]
    assert {each.model_dir for each in shown} == folders and len(shown) == len(evaluated)
    for stage in trained:
        pack = bound(stage)["pack"]
        held_out = bound(stage.replace("/train", "/evaluate"))["mixtures"][0]
        assert bound(stage.replace("/train", "/pack"))["settings"] == pack
        if "_without_" in pack.mixture:
            start = pack.mixture.partition("_10templates")[0].partition("_no_template")[0]
            assert held_out.startswith(start.partition("_dataset_name")[0])


def test_experiments_that_share_models_under_one_out_have_pages_of_their_own():
    names = ("leave_one_cluster_out", "few_shot", "prompt_tuning", "prompt_tuning_32_rows")
    folders, pages = [], []
    for name in names:
        loaded = load(f"{name}_3b")
        folders.append({bound(stage)["model_dir"] for stage in stages_of(loaded, "train")})
        pages.append(bound("report")["out"])
    assert len(set(pages)) == len(names)
    assert len(folders[0] & folders[1]) == 7 and len(folders[0] & folders[2]) == 6
    assert len(folders[2] & folders[3]) == 6


def test_the_scale_recipes_have_the_sizes_of_the_shipped_models():
    for name, of in (("scale_80m_to_11b", "t5_1_1"), ("scale_decoder_1b_to_13b", "")):
        loaded = load(name)
        sized = {
            stage.partition("/")[0]: bound(stage)["model"] for stage in stages_of(loaded, "train")
        }
        checkpoints = {
            bound(stage)["initial_checkpoint_path"] for stage in stages_of(loaded, "train")
        }
        assert len(checkpoints) == len(sized) in (3, 5)
        asked = [bound(stage) for stage in stages_of(loaded, "evaluate")]
        assert {each["checkpoint"] for each in asked if "checkpoint" in each} == checkpoints
        for size, model in sized.items():
            gin.clear_config()
            shape = f"models/{of}_{size}.gin" if of else f"models/{size}.gin"
            gin_config.parse([shape], [])
            shipped = gin_config.macro("MODEL")
            for field in ("emb_dim", "num_heads", "head_dim", "mlp_dim", "vocab_size"):
                assert getattr(model, field) == getattr(shipped, field), (size, field)


def test_given_checkpoints_are_evaluated_and_nothing_is_trained():
    loaded = recipe.load(
        str(FOLDER / "leave_one_cluster_out_given.gin"),
        ["OUT='/out'", "CHECKPOINT='/flan-t5'", "SENTIMENT='/other'"],
    )
    assert not stages_of(loaded, "train")
    asked = {stage: bound(stage)["checkpoint"] for stage in stages_of(loaded, "evaluate")}
    assert len(asked) == 12 and asked.pop("sentiment/evaluate") == "/other"
    assert set(asked.values()) == {"/flan-t5"}


# SuperGLUE's eight tasks, each with a model that has seen nothing of its cluster (section 4.5); Lester
# et al., arXiv 2104.08691, section 3: rate 0.3, 30,000 steps of 32 rows, three runs.
@pytest.mark.parametrize("size", WIDTHS)
def test_prompts_are_tuned_beside_a_model_that_has_not_seen_the_tasks_cluster(size):
    loaded = load(f"prompt_tuning_{size}")
    by_folder = {bound(stage)["model_dir"]: bound(stage) for stage in stages_of(loaded, "train")}
    prompts = [each for each in by_folder.values() if each["model"].prompt_length]
    assert len(prompts) == 8 * 2 * 3 and len(by_folder) == 48 + 6
    for prompt in prompts:
        assert (prompt["model"].prompt_length, prompt["model"].prompt_examples) == (10, 1)
        assert (prompt["batch_size"], prompt["train_steps"]) == (32, 30_000)
        assert prompt["learning_rate"](29_999) == pytest.approx(0.3)
        assert prompt["pack"].one_example_a_row
        dataset = prompt["pack"].mixture.removesuffix("_no_template")
        if "untuned" in prompt["model_dir"]:
            assert prompt["initial_checkpoint_path"] == "/initial_checkpoint_path"
            continue
        base = by_folder[prompt["initial_checkpoint_path"]]
        assert base["learning_rate"](29_999) == pytest.approx(3e-5)
        assert not base["model"].prompt_length
        seen = registration.mixture_rates(base["pack"].mixture)
        cluster = all_datasets()[dataset].cluster
        assert all(registration.prompted_task(name).cluster != cluster for name in seen)


def test_tuned_and_untuned_get_the_same_prompts_rows_and_questions():
    for name in ("prompt_tuning_tiny", "prompt_tuning_32_rows_3b"):
        loaded = load(name)
        pairs = [stage for stage in stages_of(loaded, "train") if "/tuned/" in stage]
        assert len(pairs) in (6, 24)
        for stage in pairs:
            of_tuned, of_untuned = (
                bound(each) for each in (stage, stage.replace("/tuned/", "/untuned/"))
            )
            differ = {k for k in of_tuned if repr(of_tuned[k]) != repr(of_untuned[k])}
            assert differ - {"optimizer", "learning_rate"} == {
                "model_dir",
                "initial_checkpoint_path",
            }
            asked = stage.replace("/train", "/evaluate")
            assert bound(asked)["tasks"] == (of_tuned["pack"].mixture,)
            assert bound(asked)["tasks"] == bound(asked.replace("/tuned/", "/untuned/"))["tasks"]
        seeds = {each.seed for each in bound("report")["runs"]}
        assert seeds == {0, 1, 2}
        packs = {bound(stage)["settings"] for stage in stages_of(loaded, "pack")}
        assert {bound(stage)["pack"] for stage in stages_of(loaded, "train")} == packs
    # 32 rows are others with each seed.
    assert {pack.seed for pack in packs if pack.num_examples == 32} == {0, 1, 2}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_all_mixtures_of_a_recipe_are_known_names(path):
    loaded = load(path.stem)
    named = {bound(stage)["settings"].mixture for stage in stages_of(loaded, "pack")}
    for stage in stages_of(loaded, "evaluate"):
        named |= {*bound(stage)["mixtures"], *bound(stage).get("tasks", ())}
    rendered = set()
    for stage in stages_of(loaded, "render"):
        rendered |= set(bound(stage)["names"])
    for name in named | rendered:
        assert any(each.pattern.fullmatch(name) for each in name_families()), name


def test_a_batch_is_said_in_tokens():
    lengths = {"inputs": 1024, "targets": 256}
    assert rows_of_tokens(tokens=8192, task_feature_lengths=lengths) == 8
    both = ("inputs", "targets")
    assert rows_of_tokens(tokens=8192, task_feature_lengths=lengths, counted=both) == 6
    with pytest.raises(InputError, match="holds no row of 1,024"):
        rows_of_tokens(tokens=1000, task_feature_lengths=lengths)
    with pytest.raises(InputError, match="no length of 'answers'"):
        rows_of_tokens(tokens=8192, task_feature_lengths=lengths, counted=("answers",))
