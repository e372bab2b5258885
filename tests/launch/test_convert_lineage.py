"""What a converted checkpoint says of itself: its source, arguments and digests."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.models import adapters
from instrux.training.checkpoints import save_run
from instrux.training.run_folder import RunDescription
from launch import cli, convert_lineage
from launch.convert import ConvertSettings, convert
from launch.convert_adapters import convert_adapters
from tests.launch.verifying import verify
from tests.tiny_t5 import drawn, tiny_t5

CONFIG = tiny_t5(vocab_size=264, layers=2, head_dim=3, mlp_dim=12)
DESCRIPTION = RunDescription.of(
    CONFIG, VocabularySpec.parse("bytes:5"), inputs_length=16, targets_length=8
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`run` -> `hf` -> `t5x` -> `instrux`, and `lora` beside `hf` -> `peft` -> `again`."""
    root = tmp_path_factory.mktemp("converted")
    save_run(root / "run", DESCRIPTION, drawn(CONFIG), step=9)
    ways = [("instrux", "run", "hf", "hf"), ("hf", "hf", "t5x", "t5x")]
    for kind, source, target_kind, target in [*ways, ("t5x", "t5x", "instrux", "instrux")]:
        convert(
            (kind, str(root / source)),
            (target_kind, str(root / target)),
            vocabulary="bytes:5" if kind == "t5x" else None,
            settings=ConvertSettings(inputs_length=16, targets_length=8),
        )
    config = dataclasses.replace(CONFIG, lora_rank=2)
    lora = dataclasses.replace(DESCRIPTION, model=config, base=str(root / "hf"))
    save_run(root / "lora", lora, adapters.adapter_params(drawn(config)), step=3)
    convert_adapters(("instrux", str(root / "lora")), ("peft", str(root / "peft")))
    convert_adapters(("peft", str(root / "peft")), ("instrux", str(root / "again")))
    return root


@pytest.fixture
def root(made, tmp_path):
    """A copy that a test may damage; its sources are its own, named from where it lies."""
    return shutil.copytree(made, tmp_path / "copy")


def shown(path, capsys):
    assert cli.main(["show", str(path), "--json"]) == 0
    (artefact,) = json.loads(capsys.readouterr().out)
    return artefact


MADE = {"hf": "hf", "t5x": "t5x", "instrux": "run", "peft": "peft", "again": "run"}


@pytest.mark.parametrize("name", MADE)
def test_what_was_converted_tells_its_source_arguments_versions_and_digests(made, capsys, name):
    artefact = shown(made / name, capsys)
    assert (artefact["kind"], artefact["sealed"]) == (MADE[name], True)
    assert artefact["arguments"]["to"].endswith(str(made / name))
    assert artefact["versions"].keys() >= {"instrux", "python", "jax"}
    there = {str(p.relative_to(made / name)) for p in (made / name).rglob("*") if p.is_file()}
    assert {file["name"] for file in artefact["files"]} == there - {"lineage.json"}
    assert all(len(source["fingerprint"]) == 64 for source in artefact["sources"])
    assert verify(made / name, capsys, "--chain") == (0, [])
    assert cli.main(["show", str(made / name)]) == 0
    assert f"to {MADE[name] if MADE[name] != 'run' else 'instrux'} " in capsys.readouterr().out


@pytest.mark.parametrize("name", MADE)
def test_a_changed_byte_of_any_format_is_found(root, capsys, name):
    files = [path for path in (root / name).rglob("*") if path.is_file()]
    files = [path for path in files if path.name != "lineage.json"]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    status, problems = verify(root / name, capsys)
    assert (status, [problem["path"] for problem in problems]) == (2, [str(largest)])
    assert "changed" in problems[0]["what"]


def test_an_array_of_t5x_is_one_of_its_files(made):
    content = json.loads((made / "t5x" / "lineage.json").read_text())
    names = {file["name"] for file in content["files"]}
    array = "checkpoint_9/target.encoder.layers_0.mlp.wi_0.kernel"
    assert {"checkpoint_9/checkpoint", f"{array}/.zarray", f"{array}/0.0"} <= names


def test_show_leads_on_from_format_to_format_to_the_run(made, capsys):
    of_t5x = shown(made / "instrux", capsys)["sources"][0]
    of_hf = of_t5x["artefact"]["sources"][0]
    of_run = of_hf["artefact"]["sources"][0]
    assert [each["kind"] for each in (of_t5x, of_hf, of_run)] == ["checkpoint", "checkpoint", "run"]
    assert of_run["name"] == f"{made / 'run'}, step 9"
    assert {each["state"] for each in (of_t5x, of_hf, of_run)} == {"at hand"}
    adapters, base = shown(made / "again", capsys)["sources"]
    assert (adapters["artefact"]["kind"], base["artefact"]["kind"]) == ("peft", "hf")


def test_a_checkpoint_of_t5x_named_by_its_own_folder_leads_on_as_well(made, tmp_path, capsys):
    source = ("t5x", str(made / "t5x" / "checkpoint_9"))
    convert(source, ("hf", str(tmp_path / "out")), vocabulary="bytes:5")
    assert shown(tmp_path / "out", capsys)["sources"][0]["artefact"]["kind"] == "t5x"
    assert verify(tmp_path / "out", capsys, "--chain") == (0, [])


def test_a_source_that_changed_since_is_told(root, capsys, monkeypatch):
    monkeypatch.chdir(root)
    for kind, name in (("hf", "more"), ("t5x", "other")):
        convert(("instrux", "run"), (kind, name))
    assert verify(root / "more", capsys) == (0, [])
    chunks = [path for path in (root / "run" / "checkpoints").rglob("*") if path.is_file()]
    chunk = max(chunks, key=lambda path: path.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"!")
    for name in ("more", "other"):
        status, problems = verify(root / name, capsys)
        assert status == 2
        assert "run, step 9 changed since" in problems[0]["what"]
    shutil.rmtree(root / "run")
    assert verify(root / "more", capsys) == (0, [])
    assert shown(root / "more", capsys)["sources"][0]["state"] == "not at hand"


def test_other_files_beside_published_weights_are_nobodys_fault(root, capsys):
    (root / "hf" / "LICENSE").write_text("mine")
    assert verify(root / "hf", capsys) == (0, [])
    (root / "t5x" / "checkpoint_9" / "more").write_text("")
    assert verify(root / "t5x", capsys)[0] == 2


def test_what_cannot_be_written_to_the_end_does_not_appear(made, tmp_path, monkeypatch):
    def full(path, *arguments, **settings):
        Path(path).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert_lineage, "write_lineage", full)
    with pytest.raises(InputError, match="No space left"):
        convert(("hf", str(made / "hf")), ("t5x", str(tmp_path / "out")))
    assert not list(tmp_path.iterdir())
