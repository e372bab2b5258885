"""Licences are recorded with who names them, and unknown where nobody does."""

import csv
import json
from pathlib import Path

import pytest

import tasks
from tasks.licences import licence

TABLE = Path(tasks.__file__).with_name("licences.csv")


@pytest.mark.parametrize(
    ("dataset", "config", "expected"),
    [
        ("super_glue", "rte", "other"),  # T0's own row
        ("super_glue", "wsc", "other"),  # the card that all of SuperGLUE shares
        ("anli", "r3", "cc-by-nc-4.0"),
        ("gem", "common_gen", "mit"),
        ("gem", "dart", "mit"),
        ("gem", "nobody_knows", None),
        ("cot_creak", None, "mit"),
        ("squad", "v1.1", "cc-by-sa-4.0"),
        ("winogrande", "winogrande_xl", "other"),  # T0's card says nothing, the README does
        ("cot_sensemaking", None, "unknown"),
        ("natural_instructions", "task1425_country_iso_numeric", "mit"),
        ("natural_instructions", "task9999_nobody_knows", "apache-2.0"),
        ("cot_gsm8k", None, "mit"),
        ("lexicon", "rhyme", "other"),  # two packages' tables, whose terms differ
        ("nobody", None, None),
    ],
)
def test_what_is_named_is_given(dataset, config, expected):
    assert licence(dataset, config) == expected


def test_every_line_says_who_names_it():
    with TABLE.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert all(row["dataset"] and row["licence"] and len(row["source"]) > 10 for row in rows)
    keys = [(row["dataset"], row["config"]) for row in rows]
    assert len(keys) == len(set(keys))


def test_tasks_have_what_their_own_files_state(shared_data):
    tags = {"Apache 2.0": "apache-2.0", "MIT": "mit", "CC BY-SA 4.0": "cc-by-sa-4.0"}
    found = 0
    for path in (shared_data / "natural_instructions" / "tasks").glob("task*.json"):
        stated = json.loads(path.read_text())["Instance License"]
        if len(stated) == 1 and stated[0] in (*tags, "Unknown"):
            found += 1
            assert licence("natural_instructions", path.stem) == tags.get(stated[0], "unknown")
    assert found > 5
