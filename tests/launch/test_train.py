import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gin
import jax
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.training.checkpoints import load_run
from instrux.training.mesh import MeshShape
from instrux.training.metrics_log import read_metrics
from launch import cli, evaluate, gin_config, train
from launch.convert import convert

TINY_RUN = Path(__file__).parents[1] / "instrux" / "training" / "tiny_run.py"
# Those that end in `_tiny` are no runs: they make another run file's settings small.
RUNS = sorted((Path(__file__).parents[2] / "gin" / "runs").glob("*.gin"))
RUNS = [path for path in RUNS if not path.stem.endswith("_tiny")]
# Files that do not train as they are: what recipes share, and what is laid over a run or evaluates one.
OF_RECIPES = {
    "compare.gin",
    "flan_clusters.gin",
    "flan_few_shot.gin",
    "flan_instructions.gin",
    "flan_leave_one_cluster_out.gin",
    "flan_prompt_tuning.gin",
    "flan_sweep.gin",
    "flan_templates.gin",
    "instructgpt.gin",
}
OVER_A_RUN = {"lora.gin", "prompt_tuning.gin"}
AFTER_A_RUN = {"public_scores.gin", "public_sets.gin"}
WHOLE_RUNS = [p for p in RUNS if p.name not in OF_RECIPES | OVER_A_RUN | AFTER_A_RUN]

_spec = importlib.util.spec_from_file_location("tiny_run", TINY_RUN)
tiny_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_run)
train_tiny = tiny_run.train_tiny


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_run.write_packed_set(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(data_dir):
    """A run of eight steps without a stop; its folder."""
    model_dir = data_dir / "undisturbed"
    train_tiny(model_dir, data_dir, train_steps=8)
    return model_dir


def numbers(model_dir):
    """The metrics that do not tell the time."""
    timed = {"tokens_per_second", "model_flops_utilisation", "seconds", "data_wait_share"}
    timed |= {"host_memory_gib", "device_memory_gib"}
    return [
        {name: value for name, value in line.items() if name not in timed}
        for line in read_metrics(model_dir)
    ]


def test_a_resumed_run_gives_the_same_numbers_bit_for_bit(undisturbed, data_dir, tmp_path):
    train_tiny(tmp_path, data_dir, train_steps=4)
    train_tiny(tmp_path, data_dir, train_steps=8)
    assert numbers(tmp_path) == numbers(undisturbed)
    assert [line["step"] for line in numbers(tmp_path)] == list(range(1, 9))
    jax.tree.map(
        np.testing.assert_array_equal, load_run(tmp_path).params, load_run(undisturbed).params
    )


def test_a_complete_run_is_skipped_with_one_line(undisturbed, data_dir, capsys):
    before = (undisturbed / "metrics.jsonl").read_bytes()
    result = train_tiny(undisturbed, data_dir, train_steps=8)
    assert (result.step, result.stopped) == (8, "train_steps")
    assert capsys.readouterr().err.strip().endswith("complete at step 8, skipped")
    assert (undisturbed / "metrics.jsonl").read_bytes() == before


def test_a_run_that_used_up_its_time_is_skipped(data_dir, tmp_path, capsys):
    first = train_tiny(tmp_path, data_dir, train_steps=10**6, max_seconds=1e-3)
    assert first.stopped == "max_seconds"
    again = train_tiny(tmp_path, data_dir, train_steps=10**6, max_seconds=1e-3)
    assert (again.step, again.stopped) == (first.step, "max_seconds")
    assert capsys.readouterr().err.strip().endswith("skipped")


def test_a_run_starts_from_anothers_parameters(undisturbed, data_dir, tmp_path):
    train_tiny(tmp_path, data_dir, train_steps=1, initial_checkpoint_path=str(undisturbed))
    norm = numbers(tmp_path)[0]["parameter_norm"]
    leaves = jax.tree.leaves(load_run(undisturbed).params)
    assert norm == pytest.approx(np.sqrt(sum(float((leaf**2).sum()) for leaf in leaves)), rel=1e-5)
    assert numbers(tmp_path)[0]["step"] == 1


@pytest.mark.parametrize("kind", ["t5x", "hf"])
def test_a_run_starts_from_checkpoints_of_other_systems(undisturbed, data_dir, tmp_path, kind):
    foreign = str(tmp_path / "foreign")
    convert(("instrux", str(undisturbed)), (kind, foreign))
    train_tiny(tmp_path / "ours", data_dir, train_steps=2, initial_checkpoint_path=str(undisturbed))
    train_tiny(tmp_path / "theirs", data_dir, train_steps=2, initial_checkpoint_path=foreign)
    assert numbers(tmp_path / "theirs") == numbers(tmp_path / "ours")
    # Once there is a checkpoint of its own, the initial one is not looked at.
    shutil.rmtree(foreign)
    train_tiny(tmp_path / "theirs", data_dir, train_steps=3, initial_checkpoint_path=foreign)
    assert numbers(tmp_path / "theirs")[-1]["step"] == 3


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        (
            "hf",
            {"mlp_dim": 32},
            r"wi_0.kernel is of shape \[2, 8, 16\] .* \[2, 8, 32\] in this run",
        ),
        ("t5x", {"num_heads": 4}, r"is of shape .* choose the model's gin file"),
        ("hf", {"mlp_activations": ("relu", "linear")}, r"has mlp_activations = \('gelu'"),
        (
            "hf",
            {"layer_norm_epsilon": 1e-5},
            "has layer_norm_epsilon = 1e-06, this run's has 1e-05",
        ),
    ],
)
def test_another_systems_model_has_to_be_the_runs(
    undisturbed, data_dir, tmp_path, kind, changes, told
):
    convert(("instrux", str(undisturbed)), (kind, str(tmp_path / "foreign")))
    with pytest.raises(InputError, match=told):
        train_tiny(
            tmp_path / "run",
            data_dir,
            model=dataclasses.replace(tiny_run.CONFIG, **changes),
            initial_checkpoint_path=str(tmp_path / "foreign"),
        )


def test_another_systems_vocabulary_has_to_be_the_runs(
    undisturbed, data_dir, tmp_path, shared_data
):
    foreign = tmp_path / "foreign"
    convert(("instrux", str(undisturbed)), ("hf", str(foreign)))
    (foreign / "tokenizer_config.json").unlink()
    shutil.copy(shared_data / "vocab" / "t5_32000.model", foreign / "spiece.model")
    with pytest.raises(InputError, match=r"spiece.model:100, whose content differs from bytes:5"):
        train_tiny(tmp_path / "run", data_dir, initial_checkpoint_path=str(foreign))


def test_the_run_is_described_in_its_folder(undisturbed):
    run = load_run(undisturbed)
    assert run.model.config == tiny_run.CONFIG and run.step == 8
    assert run.vocabulary == tiny_run.VOCABULARY
    description = json.loads((undisturbed / "model.json").read_text())
    assert description["feature_lengths"] == {"inputs": 16, "targets": 8}
    assert (undisturbed / "config.gin").exists()


def test_a_run_leads_back_to_its_pack_and_its_checkpoint_is_checked(undisturbed, tmp_path, capsys):
    assert cli.main(["verify", str(undisturbed), "--chain"]) == 0
    assert cli.main(["show", str(undisturbed), "--json"]) == 0
    out = capsys.readouterr().out
    (run,) = json.loads(out[out.index("[") :])
    assert run["counts"] == {"steps": 8}
    assert [(each["kind"], each["state"]) for each in run["sources"]] == [("packed", "same")]
    damaged = shutil.copytree(undisturbed, tmp_path / "run")
    part = max((damaged / "checkpoints" / "8").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert cli.main(["verify", str(damaged)]) == 2
    assert f"{part}: changed" in capsys.readouterr().out
    (damaged / "lineage.json").unlink()  # as while it trains
    assert cli.main(["verify", str(damaged)]) == 0
    assert "run without recorded digests" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"model": dataclasses.replace(tiny_run.CONFIG, vocab_size=100)},
            r"vocab_size is 100, but bytes:5 has ids up to 263; set it to 264 or more",
        ),
        (
            {"pack": dataclasses.replace(tiny_run.PACK, inputs_length=32)},
            r"no packed dataset here",
        ),
        ({"mixture": "other"}, r"mixture is 'other' and pack is"),
        ({"pack": None}, r"mixture is None and pack is None"),
        ({"batch_size": 7, "microbatches": 2}, r"batch_size is 7; it must be a multiple of 2"),
        ({"mesh": MeshShape(tensor=3)}, r"axis 'data' cannot take the rest: 1 devices"),
        ({"train_steps": 0}, r"train_steps is 0"),
        ({"initial_checkpoint_path": "/nowhere"}, r"/nowhere: no such file or folder"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(data_dir, tmp_path, settings, told):
    with pytest.raises(InputError, match=told) as raised:
        train_tiny(tmp_path / "run", data_dir, **settings)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_another_model_does_not_go_on_in_the_same_folder(undisturbed, data_dir):
    wider = dataclasses.replace(tiny_run.CONFIG, mlp_dim=32)
    with pytest.raises(InputError, match=r"model\.json: the run there has model\.mlp_dim = 16"):
        train_tiny(undisturbed, data_dir, train_steps=9, model=wider)


def test_two_processes_do_not_train_in_one_folder(undisturbed, data_dir):
    with train._only_writer(undisturbed):
        with pytest.raises(InputError, match="another process is training there"):
            train_tiny(undisturbed, data_dir, train_steps=9)


def test_training_on_a_packed_set_imports_no_tensorflow(data_dir, tmp_path):
    done = subprocess.run(
        [sys.executable, str(TINY_RUN), str(tmp_path), str(data_dir), '{"train_steps": 2}'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"step": 2, "tensorflow": False}


MACROS = {
    "MIXTURE_OR_TASK_NAME": "'tiny'",
    "TASK_FEATURE_LENGTHS": "{'inputs': 16, 'targets': 8}",
    "TRAIN_STEPS": "2",
    "MODEL_DIR": "'run'",
    "INITIAL_CHECKPOINT_PATH": "None",
    "BATCH_SIZE": "8",
    "DATA_DIR": "'data'",
    "VOCABULARY": "'bytes:5'",
    "NUM_EXAMPLES": "48",
}


@pytest.fixture
def clean_gin():
    yield
    gin.clear_config()


def with_tiny_model(tmp_path, run_file):
    """A gin file that includes a run and gives it the model that every run asks for."""
    sizes = dataclasses.asdict(tiny_run.CONFIG)
    lines = [
        "from __gin__ import dynamic_registration",
        "from instrux.models import t5",
        f"include 'runs/{run_file}'",
        "MODEL = @t5.T5Config()",
        *(f"t5.T5Config.{name} = {value!r}" for name, value in sizes.items()),
    ]
    path = tmp_path / "tiny.gin"
    path.write_text("\n".join(lines))
    return str(path)


def macros_of(path):
    """The macros that a run file defines, those of the files it includes among them."""
    text = path.read_text()
    names = set(re.findall(r"^([A-Z_]+) = ", text, flags=re.MULTILINE))
    for included in re.findall(r"^include ['\"]runs/(.*)['\"]", text, flags=re.MULTILINE):
        names |= macros_of(path.with_name(included))
    return names


def required_macros_of(path):
    """The macros that a run file asks its user for, except the model."""
    text = path.read_text()
    names = set(re.findall(r"^([A-Z_]+) = %gin\.REQUIRED", text, flags=re.MULTILINE))
    for included in re.findall(r"^include ['\"]runs/(.*)['\"]", text, flags=re.MULTILINE):
        names |= required_macros_of(path.with_name(included))
    return names - {"MODEL"}


@pytest.mark.parametrize("path", WHOLE_RUNS, ids=lambda path: path.name)
def test_every_run_file_is_complete(path, tmp_path, clean_gin):
    given = {name: f"'{name.lower()}'" for name in required_macros_of(path)} | MACROS
    bindings = [f"{name} = {given[name]}" for name in macros_of(path) & given.keys()]
    gin_config.parse([with_tiny_model(tmp_path, path.name)], bindings)
    needed = {"model_dir", "data_dir", "model", "batch_size", "train_steps"}
    assert needed <= gin.get_bindings(train.train, resolve_references=False).keys()
    # Resolved: every description it names can be built.
    settings = gin.get_bindings(train.train)
    assert settings["model"].emb_dim == 8
    assert settings["learning_rate"](1) > 0
    settings["optimizer"].build(settings["learning_rate"], {"w": ("embed",)})


def test_what_is_no_whole_run_is_included_by_a_recipe():
    recipes = "".join(path.read_text() for path in RUNS[0].parents[1].glob("recipes/**/*.gin"))
    assert OF_RECIPES <= set(re.findall(r"""^include ['"]runs/(.*)['"]""", recipes, re.MULTILINE))
    assert {path.name for path in WHOLE_RUNS} >= {"finetune.gin"}


@pytest.mark.parametrize(
    "name, setting, value",
    [("lora.gin", "lora_rank", 8), ("prompt_tuning.gin", "prompt_length", 100)],
)
def test_an_adapter_is_laid_over_a_run(name, setting, value, tmp_path, clean_gin):
    run = with_tiny_model(tmp_path, "finetune.gin")
    bindings = [f"{macro} = {given}" for macro, given in MACROS.items()]
    gin_config.parse([run, str(RUNS[0].with_name(name))], bindings)
    settings = gin.get_bindings(train.train)
    assert getattr(settings["model"], setting) == value
    settings["optimizer"].build(settings["learning_rate"], {"w": ("embed",)})


def test_the_public_sets_evaluate_a_run(clean_gin):
    bindings = ["MODEL_DIR = 'run'", "DATA_DIR = 'data'"]
    gin_config.parse([str(RUNS[0].with_name("public_sets.gin"))], bindings)
    bound = gin.get_bindings(evaluate.evaluate)
    # Options are ranked by mean log-probability, answers cut at the first newline (appendix D).
    assert (bound["model_dir"], bound["normalize_lengths"], bound["stop"]) == ("run", True, "\n")


def test_gin_trains_with_t5xs_macro_names(data_dir, tmp_path, clean_gin):
    macros = MACROS | {"MODEL_DIR": f"'{tmp_path / 'run'}'", "DATA_DIR": f"'{data_dir}'"}
    bindings = [f"{name} = {value}" for name, value in macros.items()]
    bindings.append(f"train.train.compile_cache = '{data_dir / 'jax'}'")
    gin_config.parse([with_tiny_model(tmp_path, "finetune.gin")], bindings)
    result = gin.get_configurable(train.train)()
    assert result.step == 2
    operative = (tmp_path / "run" / "config.gin").read_text()
    assert "BATCH_SIZE = 8" in operative and "emb_dim = 8" in operative


def test_a_model_file_after_a_run_file_gives_it_its_model(clean_gin):
    bindings = [f"{name} = {value}" for name, value in MACROS.items()]
    gin_config.parse(["runs/finetune.gin", "models/t5_1_1_small.gin"], bindings)
    assert gin.get_bindings(train.train)["model"].vocab_size == 32128
