"""What the tests of label pages share: small studies, and answers to them."""

import json

import pytest

from instrux.studio.label import labellers, study
from instrux.studio.label.answers import open_view, progress_of, submit, task_of
from instrux.studio.label.form import parse, questions
from instrux.studio.label.importing import import_items
from instrux.studio.label.study import StudySettings, opened

SYSTEMS = ("sft", "flan", "gpt")


def _lines(path, *objects):
    path.write_text("".join(json.dumps(o) + "\n" for o in objects), encoding="utf-8")
    return path


def _items(folder, count=4):
    return _lines(
        folder / "items.jsonl",
        *(
            {
                "id": f"p{i}",
                "prompt": f"Prompt {i}",
                "use_case": "Closed QA" if i % 2 else "Generation",
                "closed_domain": bool(i % 2),
                "outputs": {system: f"{system} says {i}" for system in SYSTEMS},
            }
            for i in range(count)
        ),
    )


@pytest.fixture
def make(tmp_path):
    """Makes a study with four prompts of three outputs."""

    def build(name="study.db", **settings):
        path = tmp_path / name
        study.create(path, StudySettings(**settings))
        with opened(path, write=True) as database:
            import_items(database, prompt_files=[_items(tmp_path)])
        return path

    return build


def _answer_all(path, name="anna", pick=3):
    """Answers every task of a labeller, each question by the option at `pick`, or the last one."""
    with opened(path, write=True) as database:
        if not database.execute("SELECT 1 FROM labellers WHERE name = ?", (name,)).fetchone():
            labellers.add(database, name=name)
        labeller = labellers.named(database, name)
        settings = study.settings_of(database)
        for task in progress_of(database, labeller).left:
            facts = task_of(database, task)
            assert facts is not None
            view = open_view(database, facts, labeller)
            asked = questions(facts, settings)
            fields = {
                q.name: q.options[min(pick + i % 2, len(q.options) - 1)].value
                for i, q in enumerate(asked)
            }
            content = parse(fields | {"notes": "so"}, asked, view.systems)
            submit(database, task, labeller, view, content)


@pytest.fixture
def answer_all():
    """Answers every task of a labeller, who is added where there is none of the name."""
    return _answer_all


@pytest.fixture
def items(tmp_path):
    """A file of four prompts with three outputs each."""
    return _items(tmp_path)


@pytest.fixture
def lines():
    """Writes objects to a file, one a line."""
    return _lines
