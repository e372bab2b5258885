import json
from pathlib import Path

import pytest

from launch import cli


def _run(capsys, *arguments):
    status = cli.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_help_lists_the_commands_and_where_to_start(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for command in ("run", "quickstart", "render", "cache", "pack", "train", "evaluate", "fetch"):
        assert command in out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["rendr"], "Did you mean 'render'?"),
        (["render", "--task", "x"], "--data_dir"),
        (["render", "--data_dir", "d"], "--task or --mixture"),
        (["render", "--task", "x", "--data_dir", "d", "--runer=DirectRunner"], "'--runner'"),
        (["pack", "--mixture", "m", "--data_dir", "d", "--num_examples", "ten"], "ten"),
        (["run", "nowhere.gin"], "nowhere.gin"),
        (["run", "quickstart.gin", "OUT=3"], "'OUT=3'"),
        (["train", "--gin_file", "nowhere.gin"], "nowhere.gin"),
        (["tasks", "show", "super_glue_rte_does_it_folow_that"], "Did you mean"),
        (["mixtures", "show", "t0_trian"], "Did you mean"),
        (["tasks", "list", "--module_import", "acme_nowhere"], "acme_nowhere"),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(capsys, arguments, named):
    status, out, err = _run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert named in err
    assert err.startswith("instrux: ")
    assert err.count("\n") == 1


def test_released_flan_templates_come_from_a_checkout(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    checkout = tmp_path / "FLAN"
    (checkout / "flan").mkdir(parents=True)
    (checkout / "flan" / "templates.py").write_text(
        'PATTERNS = {"rte": [("{premise}", "{answer}")]}'
    )
    status, out, _ = _run(capsys, "fetch", "flan-templates", "--source", str(checkout))
    assert (status, out) == (0, f"{tmp_path / 'cache' / 'flan-templates'}\n")
    assert (tmp_path / "cache" / "flan-templates" / "rte" / "templates.yaml").is_file()
    status, _, err = _run(capsys, "fetch", "flan-templates", "--source", str(tmp_path / "none"))
    assert status == 2
    assert "give a checkout of google-research/FLAN" in err and err.count("\n") == 1


def test_mixtures_show_gives_the_shares_as_json(capsys):
    status, out, _ = _run(capsys, "mixtures", "show", "t0_train", "--json")
    assert status == 0
    tasks = json.loads(out)["tasks"]
    assert len(tasks) == 313
    assert sum(task["probability"] for task in tasks) == pytest.approx(1.0)


def test_tasks_preview_renders_rows_of_the_bundled_suite(capsys):
    status, out, _ = _run(capsys, "mixtures", "preview", "lexicon_train", "--json")
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines
    assert all(line["inputs"] and line["targets"] for line in lines)


@pytest.mark.parametrize(
    ("what", "source"), [("vocab", "vocab/t5_32000.model"), ("gpt2", "vocab/gpt2/merges.txt")]
)
def test_fetch_puts_a_public_file_into_the_cache_folder(
    what, source, shared_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path))
    assert cli.main(["fetch", what, "--source", str(shared_data / source)]) == 0
    made = Path(capsys.readouterr().out.strip())
    assert tmp_path in made.parents
    assert made.read_bytes() == (shared_data / source).read_bytes()
