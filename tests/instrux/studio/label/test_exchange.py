"""Answers out to other tools and back."""

import pytest

from instrux.errors import InputError
from instrux.evaluation.label_records import LabelRecord
from instrux.studio.label import argilla, label_studio
from instrux.studio.label.answers import records_of
from instrux.studio.label.exchange import import_records
from instrux.studio.label.study import opened
from launch import cli
from tests.docs.pages import command_of


def _comparable(path):
    with opened(path) as database:
        records = [record for _, record in records_of(database)]
    return sorted(
        (r.prompt_id, r.labeller, sorted(map(repr, r.ratings)), r.ranking, r.preference, r.notes)
        for r in records
    )


@pytest.mark.parametrize("mode", ["form", "pairs"])
@pytest.mark.parametrize("tool", [argilla, label_studio])
def test_answers_come_back_from_other_tools_as_they_went(make, tmp_path, mode, tool, answer_all):
    path = make(mode=mode)
    answer_all(path)
    folder = tmp_path / "out"
    with opened(path) as database:
        count = tool.export(database, folder)
    assert count == (4 if mode == "form" else 12)
    back = make("back.db", mode=mode)
    file = folder / ("records.json" if tool is argilla else "tasks.json")
    with opened(back, write=True) as database:
        assert tool.import_answers(database, file) == count
        tool.import_answers(database, file)  # twice: the later one counts
    assert _comparable(back) == _comparable(path)
    told = file.read_text() + "".join(f.read_text() for f in folder.rglob("*.xml"))
    assert "sft" not in told.replace("sft says", "")


def test_our_own_records_come_back_and_unknown_tasks_are_named(make, answer_all):
    path = make()
    answer_all(path)
    with opened(path) as database:
        records: list[LabelRecord] = [record for _, record in records_of(database)]
    back = make("back.db")
    with opened(back, write=True) as database:
        assert import_records(database, records, "file") == 4
        assert import_records(database, records, "file") == 4
    with opened(back) as database:
        assert sorted(map(repr, (r for _, r in records_of(database)))) == sorted(map(repr, records))
    other = make("pairs.db", mode="pairs")
    with pytest.raises(InputError, match="no task with the outputs of"):
        with opened(other, write=True) as database:
            import_records(database, records, "file")


@pytest.mark.parametrize("tool", [argilla, label_studio])
@pytest.mark.parametrize(
    "content", ["", "{}", "[3]", '[{"id": "x", "responses": []}]', '[{"data": {}}]']
)
def test_other_files_are_refused_in_one_line(make, tmp_path, tool, content):
    file = tmp_path / "file.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"file\.json"):
        with opened(make(), write=True) as database:
            tool.import_answers(database, file)


def test_the_page_s_command_tells_what_people_said_in_a_study(
    make, answer_all, tmp_path, monkeypatch, capsys
):
    answer_all(make("study.db"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(command_of("docs/labelling.md", "instrux evaluate --labels").words[1:]) == 0
    captured = capsys.readouterr()
    assert "4 prompts" in captured.out and "flan – sft" in captured.out
    assert "flan – gpt" not in captured.out  # all beside the baseline
    assert captured.err.strip() == "study-evaluation/labels.html"
    assert (tmp_path / "study-evaluation" / "label_results.json").stat().st_size > 0
