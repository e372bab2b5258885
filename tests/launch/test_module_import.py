"""A user's own tasks: loaded by name, told of by file and line when they fail; and the page
docs/adding_a_dataset.md, word for word."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from instrux.data.user_modules import load_modules
from instrux.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "adding_a_dataset.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def told(module):
    with pytest.raises(InputError) as caught:
        load_modules([module])
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_module_of_the_working_folder_is_imported(folder):
    (folder / "ours").mkdir()
    (folder / "ours" / "tasks.py").write_text("LOADED = True\n")
    load_modules(["ours.tasks"])
    assert sys.modules["ours.tasks"].LOADED


def test_the_working_folder_hides_nothing_that_is_installed(folder):
    (folder / "csv.py").write_text("raise RuntimeError('not the standard one')\n")
    (folder / "own.py").write_text("import csv\n")
    load_modules(["own"])


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("x = 1\ny = x +\n", 2, "SyntaxError: invalid syntax"),
        ("import json\n\njson.loads('{')\n", 3, "JSONDecodeError: Expecting property name"),
        ("import nowhere_at_all\n", 1, "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def f():\n    return {}['a']\n\nf()\n", 2, "KeyError: 'a'"),
        ("raise SystemExit('no')\n", 1, "SystemExit: no"),
        ("raise ValueError('first\\nsecond')\n", 1, "ValueError: first second"),
    ],
)
def test_an_error_in_a_module_is_told_with_file_line_and_message(folder, text, line, complaint):
    (folder / "broken.py").write_text(text)
    message = told("broken")
    assert f"{folder / 'broken.py'}, line {line}: {complaint}" in message


def test_an_error_in_what_a_module_imports_is_told_where_it_is(folder):
    (folder / "outer.py").write_text("\nimport inner\n")
    (folder / "inner.py").write_text("\n\n1 / 0\n")
    assert f"{folder / 'inner.py'}, line 3: ZeroDivisionError" in told("outer")


def test_a_mistake_told_by_us_names_the_users_line(folder):
    (folder / "wrong.py").write_text(
        "from instrux.data.vocabularies import VocabularySpec\nVocabularySpec('words')\n"
    )
    message = told("wrong")
    assert f"{folder / 'wrong.py'}, line 2: vocabulary kind 'words'" in message


@pytest.mark.parametrize("module", ["acme.taskz", "nowhere_at_all", "acme/tasks.py", "", ".tasks"])
def test_a_module_that_does_not_exist_is_told_with_the_mend(folder, module):
    (folder / "acme").mkdir()
    message = told(module)
    assert f"no module named {module!r}" in message
    assert "PYTHONPATH" in message


def test_an_installed_package_needs_no_option(folder):
    (folder / "acme_installed.py").write_text("raise RuntimeError('reached')\n")
    metadata = folder / "acme_installed-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-installed\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[instrux.tasks]\nacme = acme_installed\n")
    sys.path.append(str(folder))
    with pytest.raises(InputError) as caught:
        load_modules()
    assert "entry point 'acme' of the package 'acme-installed'" in str(caught.value)
    assert "line 1: RuntimeError: reached" in str(caught.value)


# --- The page ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A folder with the page's files in it, and the commands of the page."""
    folder = tmp_path_factory.mktemp("page")
    text = PAGE.read_text()
    for name, content in re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", text, re.M | re.S):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (commands,) = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    return folder, [line for line in commands.splitlines() if line]


def run(folder, *arguments):
    environment = os.environ | {"INSTRUX_VOCABULARY": "bytes", "PYTHONPATH": f"{ROOT}:."}
    return subprocess.run([*arguments], cwd=folder, env=environment, capture_output=True, text=True)


def instrux(folder, command):
    script = "import sys; from launch.cli import main; sys.exit(main(sys.argv[1:]))"
    # As the shell would: the page quotes its glob.
    arguments = command.replace('"', "").split()
    assert arguments[0] == "instrux"
    return run(folder, sys.executable, "-c", script, *arguments[1:])


def test_registering_takes_under_twenty_lines(page):
    folder, _ = page
    lines = (folder / "acme" / "tasks.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) < 20


@pytest.mark.slow
def test_the_page_works_word_for_word(page):
    folder, commands = page
    preview, render = commands
    shown = instrux(folder, preview)
    assert shown.returncode == 0, shown.stderr
    assert "Do you open on Sundays? Answer yes or no." in shown.stdout

    rendered = instrux(folder, render)
    assert rendered.returncode == 0, rendered.stderr
    from instrux.data.rendered import RenderedSplit

    split = RenderedSplit(str(folder / "data"), "acme:faq_yes_or_no", "train")
    assert [
        (each.inputs, each.targets) for each in sorted(split.read(), key=lambda e: e.example_id)
    ] == [
        ("Do you open on Sundays? Answer yes or no.", "no"),
        ("Do you have parking? Answer yes or no.", "yes"),
        ("Do you open on Mondays? Answer yes or no.", "yes"),
    ]

    read = run(folder, sys.executable, "read_it.py")
    assert read.returncode == 0, read.stderr
    # Three of four examples are of the first task; bytes are three above their values.
    tokens = [value + 3 for value in b"A customer asks: Do you open on Sundays?"]
    assert str(tokens)[1:-1] in read.stdout


@pytest.mark.slow
def test_a_broken_module_ends_a_command_with_status_2_and_one_line(tmp_path):
    (tmp_path / "broken.py").write_text("\nimport nowhere_at_all\n")
    done = instrux(tmp_path, "instrux tasks list --module_import broken")
    assert done.returncode == 2
    assert "broken.py, line 2: ModuleNotFoundError" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
