import signal
import subprocess
import sys
import time

import gin
import pytest

from instrux.errors import InputError
from launch import recipe

HEAD = """
from __gin__ import dynamic_registration
from launch import recipe
from launch import stages
"""


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


def _file(tmp_path, body):
    file = tmp_path / "some.gin"
    file.write_text(HEAD + body)
    return str(file)


def test_an_unknown_stage_is_told_with_the_near_names(tmp_path):
    file = _file(tmp_path, "recipe.Recipe.stages = ('rendr',)\n")
    with pytest.raises(InputError, match=r"no stage 'rendr'. Did you mean 'render'\?"):
        recipe.load(file, [])


def test_a_gin_file_without_stages_is_no_recipe(tmp_path):
    with pytest.raises(InputError, match=r"some\.gin is no recipe"):
        recipe.load(_file(tmp_path, "stages.render.data_dir = 'x'\n"), [])


def test_the_first_failing_stage_ends_the_recipe_with_its_status(tmp_path, capfd):
    # The stage's own process finds that the task does not exist: an input error, status 2.
    file = _file(
        tmp_path,
        "recipe.Recipe.stages = ('render', 'pack')\n"
        "stages.render.names = ('no_such_task',)\n"
        f"stages.render.data_dir = '{tmp_path}'\n",
    )
    assert recipe.run(file) == 2
    err = capfd.readouterr().err
    assert "[1/2] render" in err
    assert "no_such_task" in err
    assert "[2/2]" not in err
    assert "run the same command again" in err


def test_an_error_below_a_gin_call_is_one_line_without_gins_trail(tmp_path, capfd):
    file = _file(
        tmp_path,
        "recipe.Recipe.stages = ('pack',)\n"
        "from instrux.data import packed\n"
        "from instrux.data import vocabularies\n"
        "vocabularies.VocabularySpec.kind = 'bytes'\n"
        "packed.PackSettings.mixture = 'lexicon_train'\n"
        "packed.PackSettings.inputs_length = 0\n"
        "packed.PackSettings.targets_length = 8\n"
        "packed.PackSettings.num_examples = 8\n"
        "packed.PackSettings.vocabulary = @vocabularies.VocabularySpec()\n"
        "stages.pack.settings = @packed.PackSettings()\n"
        f"stages.pack.data_dir = '{tmp_path}'\n",
    )
    assert recipe.run(file) == 2
    (line,) = (line for line in capfd.readouterr().err.splitlines() if "inputs_length" in line)
    assert line.startswith("instrux: ")
    assert "configurable" not in line


def test_stages_side_by_side_say_which_they_are_and_all_finish(tmp_path, capfd):
    file = _file(
        tmp_path,
        "recipe.Recipe.stages = (('one/render', 'two/render'), 'pack')\n"
        "one/stages.render.names = ('no_such_task',)\n"
        "two/stages.render.names = ('nor_this_one',)\n"
        f"stages.render.data_dir = '{tmp_path}'\n",
    )
    assert recipe.run(file) == 2
    err = capfd.readouterr().err
    assert "[1/2] one/render and two/render" in err
    assert "one/render: instrux: unknown task or mixture 'no_such_task'" in err
    assert "two/render: instrux: unknown task or mixture 'nor_this_one'" in err
    assert "[2/2]" not in err


def test_a_stage_side_by_side_does_not_say_its_name_twice(capfd):
    command = [sys.executable, "-c", "print('train: 7 steps'); print('rows: 3')"]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
    recipe._forward("one/train", process)
    process.wait()
    assert capfd.readouterr().err == "one/train: 7 steps\none/train: rows: 3\n"


def test_sigterm_reaches_the_stage_and_its_status_is_passed_on(tmp_path):
    started = tmp_path / "started"
    (tmp_path / "waiting.py").write_text(
        f"import pathlib, time\npathlib.Path({str(started)!r}).touch()\ntime.sleep(300)\n"
    )
    file = _file(
        tmp_path,
        "recipe.Recipe.stages = ('render',)\n"
        "stages.render.names = ('x',)\n"
        f"stages.render.data_dir = '{tmp_path}'\n"
        "stages.render.module_imports = ('waiting',)\n",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.cli", "run", file],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not started.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stage render ended with status 143" in err
