"""The audit job, on rows whose duplicates, overlaps and lengths are known by hand."""

import hashlib
import json
from collections import Counter

import pytest

from instrux.data.audit_settings import AuditSettings, AuditTask
from instrux.data.prompted_task import PromptedTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.prompts import Template
from pipelines.audit import audit
from pipelines.render import render

WORDS = [f"w{n}" for n in range(400)]


def sentence(start, length):
    return " ".join(WORDS[start : start + length])


# Numbers below are counted on these rows by hand.
QUESTIONS = [
    {"text": sentence(0, 40), "label": "yes"},  # 0
    {"text": sentence(100, 40), "label": "no"},  # 1
    {"text": sentence(0, 40), "label": "yes"},  # 2: row 0 again
    {"text": sentence(0, 40), "label": "no"},  # 3: row 0 with another answer
    {"text": sentence(200, 40), "label": "maybe"},  # 4: no such choice; empty below
    {"text": sentence(200, 39) + " changed", "label": "yes"},  # 5: nearly row 4
]
STORIES = [
    {"text": sentence(100, 40), "label": "no"},  # 0: row 1 of questions again
    {"text": sentence(300, 9), "label": "a story"},  # 1
    {"text": sentence(320, 60), "label": ""},  # 2: an empty target
]
HELD_OUT = [
    {"text": sentence(305, 30), "label": "x"},  # 305..313: 4 words with story 1; 320..334 with 2
    {"text": sentence(110, 8) + " else", "label": "x"},  # 8 words with question 1 and story 0
    {"text": "nothing of it", "label": "x"},
]
FILES = {"questions": QUESTIONS, "stories": STORIES, "held_out": HELD_OUT}
TASKS = [
    AuditTask(
        name="questions", rendered="questions", rate=3, dataset="toy/questions", licence="mit"
    ),
    AuditTask(name="stories", rendered="stories", rate=1, dataset="toy/stories"),
]


def settings_for(**changes):
    defaults = {
        "mixture": "toy",
        "vocabulary": VocabularySpec.parse("bytes"),
        "inputs_length": 200,
        "targets_length": 4,
    }
    return AuditSettings(**defaults | changes)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    tasks = []
    for name, rows in FILES.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        split = "validation" if name == "held_out" else "train"
        choices = "yes ||| no" if name == "questions" else None
        tasks.append(
            PromptedTask(
                name,
                JsonLinesSource("toy", name, {split: str(path)}),
                Template(name="ask", jinja="{{text}} ||| {{label}}", answer_choices=choices),
                splits={split: split},
            )
        )
    render(tasks=tasks, data_dir=folder, num_shards=2)
    return folder


@pytest.fixture(scope="module")
def audited(data_dir):
    return audit(settings_for(), data_dir=data_dir, tasks=TASKS, held_out=["held_out", "absent"])


def listed(audited, name):
    lines = (audited.folder / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def rows_of(audited, name):
    """(task, row) of each line of a list."""
    return {
        (each["task"], int(each["example_id"].split("/")[-1])) for each in listed(audited, name)
    }


def test_a_row_that_an_earlier_one_equals_is_listed_with_it(audited):
    repeated = listed(audited, "exact_duplicates")
    assert len(repeated) == 2
    within = [each for each in repeated if each["task"] == "questions"]
    ids = {within[0]["example_id"], within[0]["duplicate_of"]}
    # Which of two equal rows is the later one follows from the files.
    assert ids == {"toy/questions/train/0", "toy/questions/train/2"}
    across = next(each for each in repeated if each["task"] == "stories")
    assert across["example_id"] == "toy/stories/train/0"
    assert across["duplicate_of"] == "toy/questions/train/1"
    exact = audited.results["duplicates"]["exact_duplicates"]
    assert (exact["within"], exact["across"], exact["rows"]) == (1, 1, 2)
    assert exact["share"] == pytest.approx(2 / 9)


def test_equal_inputs_with_other_targets_are_told_apart_from_duplicates(audited):
    assert len(rows_of(audited, "same_inputs_other_targets")) in (1, 2)
    assert rows_of(audited, "same_inputs_other_targets") <= {("questions", n) for n in (0, 2, 3)}


def test_near_duplicates_are_verified_by_their_true_likeness(audited):
    # 40 words and 1 of the target: 37 shingles of 5. Rows 4 and 5 differ in their last two words,
    # so 35 are the same of 39 in all; rows 0 and 3 differ in the target alone: 36 of 38.
    near = {
        frozenset((each["example_id"], each["duplicate_of"])): each["likeness"]
        for each in listed(audited, "near_duplicates")
    }
    pair = frozenset({"toy/questions/train/4", "toy/questions/train/5"})
    assert near[pair] == pytest.approx(35 / 39, abs=1e-6)
    others = [likeness for ids, likeness in near.items() if ids != pair]
    assert others
    assert others == pytest.approx([36 / 38] * len(others), abs=1e-6)


def test_targets_outside_their_choices_and_empty_ones_are_listed(audited):
    assert rows_of(audited, "missing_choices") == {("questions", 4)}
    assert rows_of(audited, "empty_targets") == {("stories", 2)}
    questions = audited.results["tasks"][0]
    assert questions["labels"] == {"yes": 3, "no": 2, "maybe": 1}
    assert questions["places"] == {"0": 3, "1": 2}


def test_overlap_is_found_at_its_number_of_words_and_no_sooner(audited):
    # 13: story 2 has words 320 to 334 of the first held-out row. 8: the second one's words 110 to
    # 117 as well. Story 1 shares 4 words only.
    assert rows_of(audited, "overlap_13") == {("stories", 2)}
    assert rows_of(audited, "overlap_8") == {("stories", 2), ("stories", 0), ("questions", 1)}
    (line,) = listed(audited, "overlap_13")
    assert line["held_out"] == "toy/held_out/validation/0"
    assert line["text"] == sentence(320, 13)
    assert line["matches"] == 3  # 15 words in common
    sizes = audited.results["overlap"]["sizes"]
    assert (sizes["13"]["held_out_rows"], sizes["8"]["held_out_rows"]) == (1, 2)
    assert audited.results["overlap"]["not_rendered"] == ["absent"]


def test_lengths_and_what_is_cut_are_those_of_the_texts(audited, data_dir):
    """Against a few lines that know nothing of the audit."""
    for task in ("questions", "stories"):
        found = next(each for each in audited.results["tasks"] if each["task"] == task)
        examples = list(RenderedSplit(data_dir, task, "train").read())
        for side, room in (("inputs", 200), ("targets", 3)):
            lengths = sorted(len(getattr(example, side).encode()) for example in examples)
            assert found[side]["tokens"] == sum(lengths)
            assert found[side]["quantiles"]["1"] == lengths[-1]
            assert found[side]["quantiles"]["0.5"] == lengths[(len(lengths) - 1) // 2]
            assert found[side]["cut_examples"] == sum(length > room for length in lengths)
            assert found[side]["cut_tokens"] == sum(max(0, n - room) for n in lengths)


def test_shares_are_those_of_the_rates_and_of_the_tokens_they_bring(audited, data_dir):
    kept = Counter()
    for task in ("questions", "stories"):
        examples = list(RenderedSplit(data_dir, task, "train").read())
        for example in examples:
            kept[task] += min(200, len(example.inputs)) + min(3, len(example.targets))
        kept[task] /= len(examples)
    questions, stories = audited.results["tasks"]
    assert (questions["share_asked"], stories["share_asked"]) == (0.75, 0.25)
    expected = 3 * kept["questions"] / (3 * kept["questions"] + kept["stories"])
    assert questions["share_of_tokens"] == pytest.approx(expected)
    licences = {each["licence"]: each["share_asked"] for each in audited.results["licences"]}
    assert licences == {"mit": 0.75, "unknown": 0.25}


def test_the_result_does_not_depend_on_the_runner_and_is_not_made_twice(
    audited, data_dir, tmp_path
):
    again = audit(settings_for(), data_dir=data_dir, tasks=TASKS, held_out=["held_out", "absent"])
    assert again.skipped
    assert again.results == audited.results
    other = audit(
        settings_for(),
        data_dir=data_dir,
        tasks=TASKS,
        held_out=["held_out", "absent"],
        out=tmp_path / "out",
        beam_args=["--direct_num_workers=2"],
    )
    assert not other.skipped
    assert _digests(other.folder) == _digests(audited.folder)


def test_several_passes_find_what_one_finds(audited, data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.audit._BYTES_AT_ONCE", 1500)  # 9 rows of 504 bytes: 4 passes
    split = audit(
        settings_for(),
        data_dir=data_dir,
        tasks=TASKS,
        held_out=["held_out", "absent"],
        out=tmp_path / "out",
    )
    assert _digests(split.folder) == _digests(audited.folder)


def _digests(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }


def test_the_report_is_one_page_that_escapes_what_it_shows(audited):
    page = (audited.folder / "report.html").read_text()
    assert "<script" not in page
    assert "://" not in page.replace("http://www.w3.org", "")
    assert "2 examples (22.22%) are exact duplicates" in page


def test_settings_that_cannot_be_are_told():
    with pytest.raises(InputError, match="likeness is 2"):
        settings_for(likeness=2)
    with pytest.raises(InputError, match="bands is 0"):
        settings_for(bands=0)
