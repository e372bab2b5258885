"""Vocabularies trained from rendered text: T5's special ids, the settings asked for, one result."""

import json
import shutil

import pytest

from instrux.data.manifest import read_manifest
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.errors import InputError
from instrux.prompts import Template
from pipelines.render import render
from pipelines.vocab import vocab

SENTENCES = [
    "the quick brown fox jumps over the lazy dog in {n} days",
    "what is {n} plus one, and what is the sum of both numbers?",
    "a premise entails a hypothesis whenever the premise is true",
]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    tasks = []
    for number, sentence in enumerate(SENTENCES):
        path = data_dir / f"{number}.jsonl"
        rows = [{"text": sentence.format(n=n), "n": n} for n in range(60)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        source = JsonLinesSource("toy", str(number), {"train": str(path)})
        template = Template(name="say", jinja="{{text}}\nSay it: ||| it is {{n}}")
        tasks.append(PromptedTask(f"toy_{number}", source, template, splits={"train": "train"}))
    render(tasks=tasks, data_dir=data_dir)
    return data_dir


@pytest.fixture
def data_dir(rendered, tmp_path):
    shutil.copytree(rendered / "rendered", tmp_path / "data" / "rendered")
    return tmp_path / "data"


def test_special_ids_are_t5s_and_the_size_is_what_was_asked_for(data_dir):
    result = vocab(tasks=["toy_*"], data_dir=data_dir, size=120)
    vocabulary = result.spec.load()
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    assert vocabulary.vocab_size == 120 + 100
    text = "the lazy fox is a hypothesis"
    ids = vocabulary.encode(text)
    assert vocabulary.unk_id not in ids
    assert len(ids) < len(text)
    assert vocabulary.decode(ids) == text
    assert result.path.parent.parent == data_dir / "vocab"


def test_a_complete_vocabulary_is_skipped(data_dir, capsys):
    first = vocab(tasks=["toy_*"], data_dir=data_dir, size=120, name="mine")
    content = first.path.read_bytes()
    first.path.touch()
    capsys.readouterr()
    again = vocab(tasks=["toy_*"], data_dir=data_dir, size=120, name="mine")
    assert again.skipped and not first.skipped
    assert capsys.readouterr().err == "vocab mine: complete, skipped\n"
    assert again.path.read_bytes() == content


def test_the_same_text_gives_the_same_bytes(data_dir):
    one = vocab(tasks=["toy_*"], data_dir=data_dir, size=120, name="one")
    other = vocab(tasks=["toy_2", "toy_1", "toy_0"], data_dir=data_dir, size=120, name="other")
    assert one.path.read_bytes() == other.path.read_bytes()


def test_other_settings_under_the_same_name_train_again_and_say_so(data_dir, capsys):
    vocab(tasks=["toy_*"], data_dir=data_dir, size=120, name="mine")
    again = vocab(tasks=["toy_*"], data_dir=data_dir, size=110, name="mine")
    assert not again.skipped
    assert again.spec.load().vocab_size == 210
    assert "changed, training again" in capsys.readouterr().err


def test_one_that_died_half_way_is_trained_again(data_dir):
    first = vocab(tasks=["toy_*"], data_dir=data_dir, size=120, name="mine")
    content = first.path.read_bytes()
    (first.path.parent / "COMPLETED").unlink()
    first.path.write_bytes(b"half")
    assert not vocab(tasks=["toy_*"], data_dir=data_dir, size=120, name="mine").skipped
    assert first.path.read_bytes() == content


def trained(data_dir, **settings):
    return vocab(tasks=["toy_*"], data_dir=data_dir, **settings).spec.load()


def test_digits_are_split_as_asked_for(data_dir):
    vocabulary = trained(data_dir, size=55, split_digits=True)
    pieces = [vocabulary.decode([token]) for token in vocabulary.encode("2023")]
    assert [piece for piece in pieces if piece] == ["2", "0", "2", "3"]


def test_characters_never_seen_become_bytes_as_asked_for(data_dir):
    plain = trained(data_dir, size=120)
    assert plain.unk_id in plain.encode("☃")
    with_bytes = trained(data_dir, size=330, byte_fallback=True)
    assert with_bytes.decode(with_bytes.encode("☃")) == "☃"


def test_a_symbol_is_one_piece(data_dir):
    vocabulary = trained(data_dir, size=120, user_defined_symbols=["<sep>"])
    pieces = [vocabulary.decode([token]) for token in vocabulary.encode("fox<sep>dog")]
    assert "<sep>" in pieces


def test_only_so_many_lines_are_used_as_asked_for(data_dir):
    result = vocab(tasks=["toy_*"], data_dir=data_dir, size=50, max_sentences=30)
    assert read_manifest(result.path.parent / "manifest.json").counts["lines"] == 30


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tasks": ["toi_*"], "size": 100}, "no task rendered in .* matches 'toi_"),
        ({"tasks": [], "size": 100}, "no task is named"),
        ({"tasks": ["toy_*"], "size": 3}, "size is 3"),
        ({"tasks": ["toy_*"], "size": 1_000_000}, "cannot train 1000000 pieces"),
        ({"tasks": ["toy_*"], "size": 200, "byte_fallback": True}, "give 300 or more"),
        ({"tasks": ["toy_*"], "size": 100, "character_coverage": 0.0}, "character_coverage is 0.0"),
        ({"tasks": ["toy_*"], "size": 100, "split": "test"}, "not rendered"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(data_dir, settings, told):
    with pytest.raises(InputError, match=told) as error:
        vocab(data_dir=data_dir, **settings)
    assert "\n" not in str(error.value)
    assert not list((data_dir / "vocab").glob("*/COMPLETED"))
