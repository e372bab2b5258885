import json

import pytest

from instrux.data.natural_instructions_splits import (
    TEST_CATEGORIES,
    TaskFacts,
    derive_splits,
    read_split_list,
    release_facts,
)
from instrux.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INSTRUX_MIRROR", raising=False)


def _facts(name, category, sources, languages=("english",)):
    return TaskFacts(name, category, tuple(sources), tuple(languages), 100)


FACTS = [
    _facts("task1_rte", "Textual Entailment", ["rte"]),
    _facts("task2_rte_qa", "Question Answering", ["rte", "other"]),
    _facts("task3_qa", "Question Answering", ["squad"]),
    _facts("task4_fa", "Textual Entailment", ["farstail"], ["persian"]),
    _facts("task5_fa_qa", "Question Answering", ["farstail"], ["english"]),
    _facts("task6_translation", "Translation", ["alt"], ["english", "japanese"]),
    _facts("task7_synthetic", "Program Execution", ["synthetic"]),
    _facts(
        "task1415_youtube_caption_corrections_grammar_correction",
        "Grammar Error Correction",
        ["youtube"],
    ),
]


def test_the_rule_by_hand():
    english = derive_splits(FACTS)
    assert english.test == ("task1_rte",)
    assert english.train == ("task3_qa", "task7_synthetic")
    others = derive_splits(FACTS, "xlingual")
    assert others.test == ("task4_fa",)
    assert others.train == ("task3_qa", "task6_translation", "task7_synthetic")
    assert derive_splits(FACTS, without_synthetic=True).train == ("task3_qa",)


def test_any_category_can_be_held_out():
    lists = derive_splits(FACTS, test_categories=("Question Answering",))
    assert lists.test == ("task2_rte_qa", "task3_qa", "task5_fa_qa")
    assert lists.train == ("task7_synthetic",)
    with pytest.raises(InputError, match="Did you mean 'Question Answering'"):
        derive_splits(FACTS, test_categories=("Question Answerin",))


def test_the_rule_never_contradicts_the_official_lists(shared_data):
    folder = shared_data / "natural_instructions"
    official = {
        name: split
        for split in ("train", "test", "excluded")
        for name in read_split_list(folder / "splits" / "default" / f"{split}_tasks.txt")
    }
    assert len(official) == 1613
    facts = release_facts(folder)
    derived = derive_splits(facts)
    assert len(facts) == 107
    assert all(official[name] == "test" for name in derived.test)
    assert sum(official[fact.name] == "test" for fact in facts) == len(derived.test) == 11
    assert all(official[name] == "excluded" for name in derived.excluded)
    # Those that share a source with a test task that is not among these files look trainable.
    candidates = {fact.name: fact for fact in facts}
    for name in derived.train:
        assert official[name] in ("train", "excluded")
        assert candidates[name].is_english
    assert sum(official[name] == "train" for name in derived.train) == 72


def test_the_english_test_tasks_have_the_twelve_categories(shared_data):
    facts = release_facts(shared_data / "natural_instructions" / "test119")
    derived = derive_splits(facts)
    folder = shared_data / "natural_instructions" / "splits" / "default"
    assert sorted(derived.test) == sorted(read_split_list(folder / "test_tasks.txt"))
    counts = {category: 0 for category in TEST_CATEGORIES}
    for fact in facts:
        counts[fact.category] += 1
    # arXiv 2204.07705, table of evaluation tasks
    assert counts == {
        "Textual Entailment": 24,
        "Cause Effect Classification": 7,
        "Coreference Resolution": 14,
        "Dialogue Act Recognition": 7,
        "Answerability Classification": 13,
        "Word Analogy": 8,
        "Overlap Extraction": 2,
        "Keyword Tagging": 5,
        "Question Rewriting": 11,
        "Title Generation": 18,
        "Data to Text": 9,
        "Grammar Error Correction": 1,
    }
    assert sum(min(fact.num_instances, 100) for fact in facts) == 11_810


def test_a_file_that_is_no_task_is_told_and_the_rest_is_read(tmp_path, capsys):
    good = {"Definition": ["d"], "Source": ["s"], "Instances": [{"input": "i", "output": ["o"]}]}
    (tmp_path / "task001_good.json").write_text(json.dumps(good))
    (tmp_path / "task002_bad.json").write_text("{")
    bad_field = good | {"Positive Examples": [{"input": 1, "output": "o"}]}
    (tmp_path / "task003_field.json").write_text(json.dumps(bad_field))
    facts = release_facts(tmp_path)
    assert [fact.name for fact in facts] == ["task001_good", "task003_field"]
    told = capsys.readouterr().err
    assert "task002_bad.json: not a JSON file" in told
    assert "task003_field: 'Positive Examples', example 0, field 'input': is a number" in told
    assert release_facts(tmp_path) == facts
    assert "not a JSON" not in capsys.readouterr().err  # kept: nothing is read again


def test_lists_are_checked(tmp_path):
    path = tmp_path / "train_tasks.txt"
    path.write_text("task001_a\n\ntask002_b.json\n")
    assert read_split_list(path) == ["task001_a", "task002_b"]
    path.write_text("task001_a\n<html>\n")
    with pytest.raises(InputError, match="line 2: '<html>' is not a task's name"):
        read_split_list(path)
    with pytest.raises(InputError, match="INSTRUX_MIRROR names no folder"):
        release_facts()
