"""doctor, completion, and what --help and mistakes tell."""

import json
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from launch import cli, completion, doctor, gin_config
from launch.cli_examples import EXAMPLES
from tests.docs.pages import command_of

ROOT = Path(__file__).resolve().parents[2]


def _run(capsys, *arguments):
    status = cli.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


# --- help and mistakes ---------------------------------------------------------------------------


def test_every_command_ends_its_help_with_examples_and_an_existing_page():
    _, commands = cli.parsers()
    assert set(EXAMPLES) == set(commands)
    for examples in EXAMPLES.values():
        assert (ROOT / "docs" / f"{examples.page}.md").is_file(), examples.page


@pytest.mark.parametrize("line", [line for each in EXAMPLES.values() for line, _ in each.lines])
def test_an_example_of_the_help_is_a_command(line):
    parser, _ = cli.parsers()
    words = shlex.split(line.partition(" > ")[0])
    options, rest = parser.parse_known_args(words[1:])
    assert all(each.startswith(("--gin.", "--direct_num_workers")) for each in rest)
    if words[1] == "run":
        assert gin_config.find(options.recipe).is_file()


def test_help_leaves_empty_defaults_out(capsys):
    with pytest.raises(SystemExit):
        cli.main(["pack", "--help"])
    out = capsys.readouterr().out
    assert "(default: 1024)" in out
    assert "(default: None)" not in out and "(default: [])" not in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["fetch", "promtsource"], "Did you mean 'promptsource'?"),
        (["tasks", "lst"], "Did you mean 'list'?"),
        (["studio", "labl"], "Did you mean 'label'?"),
        (["studio", "label", "creat"], "Did you mean 'create'"),
        (["render", "--taks", "x", "--data_dir", "d"], "Did you mean '--task'"),
        (["train", "--gin_file", "f", "--module_imprt=x"], "Did you mean '--module_import'"),
        (["studio", "label", "status", "--jsn"], "See `instrux studio label status --help`"),
        (["convert", "--from", "hff", "a", "--to", "t5x", "b"], "choose from"),
        (["doctor", "--offline", "--need", "promptsorce"], "Did you mean 'promptsource'"),
    ],
)
def test_a_mistake_is_told_with_the_nearest_names(capsys, arguments, told):
    status, out, err = _run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1


# --- doctor --------------------------------------------------------------------------------------


def _found(**conditions):
    return {each.name: each for each in doctor.findings(**conditions)}


def test_doctor_says_of_all_that_is_absent_what_it_is_for_and_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "none" / "yet"))
    found = _found(offline=True)
    absent = [each for each in found.values() if not each.ready]
    assert all(each.needed_for and each.mend for each in absent)
    assert found["promptsource"].mend == "instrux fetch promptsource"
    assert found["cache_folder"].ready  # it can be made
    assert not found["hub"].ready and "not tried" in found["hub"].found
    (tmp_path / "none" / "yet" / "promptsource-0.2.3").mkdir(parents=True)
    assert _found(offline=True)["promptsource"].ready


def test_doctor_looks_for_every_extra_there_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {each.name for each in doctor.findings(offline=True)}
    # The accelerators' extras are told with the accelerator.
    assert set(project["optional-dependencies"]) - {"cuda", "tpu"} <= found


def test_doctor_calls_no_extra_installed_that_the_installation_does_not_know():
    assert "before it had this extra" in doctor.missing_of_extra("of_next_year")[0]


def test_doctor_tells_a_mirror_that_is_no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    assert _found(offline=True)["mirror"].ready
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path / "nowhere"))
    assert "nowhere" in _found(offline=True)["mirror"].found


def test_doctor_fails_where_the_disk_is_full(monkeypatch, capsys):
    usage = doctor.shutil.disk_usage("/")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage._replace(free=2**29))
    status, out, _ = _run(capsys, "doctor", "--offline")
    assert status == 2
    assert "MISSING  disk" in out
    assert out.rstrip().endswith("Missing: disk.")


def test_what_is_needed_decides_the_exit_status(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path))
    assert _run(capsys, "doctor", "--offline")[0] == 0
    status, out, _ = _run(capsys, "doctor", "--offline", "--need", "gpt2", "--json")
    assert status == 2
    required = {each["name"] for each in json.loads(out) if each["required"]}
    assert required == {"python", "packages", "cache_folder", "disk", "gpt2"}


def test_what_a_reproduction_needs_is_asked_for_as_its_page_does(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path))
    words = command_of("docs/reproducing.md", "instrux doctor").words[1:]
    (tmp_path / "promptsource-0.2.3").mkdir()
    status, out, _ = _run(capsys, *words, "--offline")
    assert status == 2
    assert out.rstrip().endswith("Missing: vocab.")
    (tmp_path / "vocab").mkdir()
    (tmp_path / "vocab" / "t5_32000.model").write_bytes(b"a vocabulary")
    assert _run(capsys, *words, "--offline")[0] == 0


@pytest.mark.parametrize(
    ("requirement", "missing"),
    [
        ("numpy", []),
        ("numpy>=900", ["numpy>=900 (there is "]),
        ("no-such-distribution-anywhere", ["no-such-distribution-anywhere"]),
        ("httpx", []),
        ("jsonschema[format]", ["fqdn"]),  # an extra of a requirement that is installed
    ],
)
def test_a_requirement_is_met_with_its_version_and_its_own_extras(requirement, missing):
    found = doctor.missing_of(Requirement(requirement))
    assert len(found) >= len(missing) and bool(found) == bool(missing)
    for each in missing:
        assert any(one.startswith(each) for one in found)


def test_doctor_on_a_pipe_is_plain_and_imports_nothing_heavy():
    program = (
        "import sys; from launch import cli; status = cli.main(['doctor', '--offline']);"
        "print(sorted({'jax', 'tensorflow', 'apache_beam', 'torch', 'seqio'} & set(sys.modules)));"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("[]\n")
    assert "\x1b" not in done.stdout


# --- completion ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_shell_gets_its_own_lines(shell, capsys):
    status, out, _ = _run(capsys, "completion", shell)
    assert status == 0
    assert "instrux" in out and "_ARGCOMPLETE" in out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("instrux rend", "render"),
        ("instrux pack --num_ex", "--num_examples"),
        ("instrux run quickstart_", "quickstart_prompts.gin"),
        ("instrux train --gin_file models/t5_1_1_xx", "models/t5_1_1_xxl.gin"),
        ("instrux pack --mixture t0_tr", "t0_train"),
        ("instrux tasks show super_glue_r", "super_glue_rte_can_we_infer"),
        ("instrux mixtures show super_glue_r", ""),
    ],
)
def test_what_is_typed_is_completed(typed, offered, monkeypatch, tmp_path):
    (tmp_path / "completion").mkdir()
    names = {"tasks": ["super_glue_rte_can_we_infer"], "mixtures": ["t0_train"]}
    (tmp_path / "completion" / "names.json").write_text(json.dumps(names))
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path))
    assert _completions(typed, tmp_path).split() == offered.split()


def test_a_broken_file_of_names_completes_to_nothing(monkeypatch, tmp_path):
    (tmp_path / "completion").mkdir()
    (tmp_path / "completion" / "names.json").write_text('["not ours"]')
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path))
    assert _completions("instrux pack --mixture t0_tr", tmp_path) == ""


def _completions(typed, tmp_path):
    """Asks as a shell does, by argcomplete's environment variables."""
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)),
    }
    program = [sys.executable, "-m", "launch.cli"]
    subprocess.run(program, check=True, env=os.environ | asked, cwd=ROOT, capture_output=True)
    return answer.read_text()
