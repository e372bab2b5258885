"""Prompts and outputs into a study."""

import pytest

from instrux.errors import InputError
from instrux.studio.label import labellers, study
from instrux.studio.label.answers import (
    open_view,
)
from instrux.studio.label.exchange import shown_tasks
from instrux.studio.label.importing import import_items, task_systems
from instrux.studio.label.study import StudySettings, opened


def test_importing_twice_changes_nothing_and_a_contradiction_is_named(make, tmp_path, items, lines):
    path = make()
    with opened(path, write=True) as database:
        held = import_items(database, prompt_files=[items])
    assert (held.prompts, held.outputs, held.tasks) == (4, 12, 4)
    other = lines(tmp_path / "other.jsonl", {"id": "p1", "output": "something else"})
    with pytest.raises(InputError, match=r"other.jsonl:1: 'sft' has another output for .*'p1'"):
        with opened(path, write=True) as database:
            import_items(database, output_files=[("sft", other)])


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ({"id": "new", "output": "x"}, "in none of the prompt files"),
        ({"prompt": "Prompt 1"}, "no output"),
        ({"prompt": "", "output": "x"}, "prompt is empty"),
        ({"prompt": "Prompt 1", "output": 3}, "`output` should be a text"),
        ({"id": True, "output": "x"}, "`id` should be a text"),
        ({"instruction": "a", "input": ["b"], "output": "x"}, "`input` should be a text"),
    ],
)
def test_a_line_that_is_no_output_is_named_and_nothing_is_imported(
    make, tmp_path, line, wanted, lines
):
    path = make()
    good = {"id": "p0", "output": "a new system's"}
    file = lines(tmp_path / "new.jsonl", good, line)
    with pytest.raises(InputError, match=f"new.jsonl:2: .*{wanted}"):
        with opened(path, write=True) as database:
            import_items(database, output_files=[("new", file)])
    with opened(path) as database:
        assert database.execute("SELECT count(*) FROM outputs").fetchone()[0] == 12


def test_outputs_find_their_prompts_by_text_and_a_new_system_leaves_opened_tasks_alone(
    make, tmp_path, lines
):
    path = make()
    with opened(path, write=True) as database:
        labellers.add(database, name="anna")
        labeller = labellers.named(database, "anna")
        facts = next(shown_tasks(database)).facts
        open_view(database, facts, labeller)
        file = lines(
            tmp_path / "new.jsonl",
            *({"inputs": f" Prompt {i}\n", "prediction": str(i)} for i in range(4)),
        )
        held = import_items(database, output_files=[("new", file)])
        assert held.systems["new"] == 4
        sizes = sorted(len(task.systems) for task in shown_tasks(database))
    assert sizes == [3, 4, 4, 4, 4]


def test_which_outputs_are_shown_together():
    systems = [f"s{i}" for i in range(5)]
    assert task_systems("p", systems, StudySettings()) == [tuple(systems)]
    chunks = task_systems("p", systems, StudySettings(outputs_per_task=2))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    assert sorted(s for chunk in chunks for s in chunk) == systems
    assert len(task_systems("p", systems, StudySettings(mode="pairs"))) == 10
    against = task_systems("p", systems, StudySettings(mode="pairs", baseline="s3"))
    assert len(against) == 4 and all("s3" in pair for pair in against)
    with pytest.raises(InputError, match="outputs_per_task"):
        task_systems("p", [f"s{i}" for i in range(10)], StudySettings())


def test_the_eight_systems_real_answers_make_a_study(shared_data, tmp_path):
    files = sorted((shared_data / "labels" / "predictions").glob("*.jsonl"))
    path = tmp_path / "real.db"
    study.create(path, StudySettings())
    with opened(path, write=True) as database:
        held = import_items(
            database,
            prompt_files=[shared_data / "instruct" / "user_oriented_instructions.jsonl"],
            output_files=[(file.stem.removesuffix("_predictions"), file) for file in files],
        )
    assert (held.prompts, held.outputs, held.tasks) == (252, 2016, 252)
