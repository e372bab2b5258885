"""Studies, and answers in them."""

import sqlite3

import pytest

from instrux.errors import InputError
from instrux.studio.label import labellers, study
from instrux.studio.label.answers import (
    content_for,
    open_view,
    records_of,
    save_draft,
    submit,
)
from instrux.studio.label.exchange import shown_tasks
from instrux.studio.label.form import (
    Content,
)
from instrux.studio.label.study import StudySettings, opened


def test_files_that_are_no_studies_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no such study; .* create"):
        with opened(tmp_path / "absent.db"):
            pass
    text = tmp_path / "text.db"
    text.write_text("{}")
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (x)").connection.close()
    for file, wanted in ((text, "no study but another file"), (other, "but no study of")):
        with pytest.raises(InputError, match=wanted):
            with opened(file):
                pass
    with pytest.raises(InputError, match="exists"):
        study.create(text, StudySettings())
    with pytest.raises(InputError, match="should be from 0 to 1"):
        StudySettings(share=1.5)


def test_the_latest_answer_counts_and_the_order_shown_is_drawn_and_stored(make, answer_all):
    path = make()
    for pick in (1, 2):
        with opened(path, write=True) as database:
            database.execute("DELETE FROM drafts")
        answer_all(path, pick=pick)
    with opened(path, write=True) as database:
        labeller = labellers.named(database, "anna")
        facts = next(shown_tasks(database)).facts
        orders = set()
        for _ in range(40):
            view = open_view(database, facts, labeller)
            assert open_view(database, facts, labeller) == view  # a page loaded again
            orders.add(view.systems)
            submit(database, facts.id, labeller, view, Content(notes=str(view.id)))
        assert len(orders) == 6  # all orders of three, but for one chance in two hundred
        latest = [r for task, r in records_of(database) if task.id == facts.id]
        every = [r for task, r in records_of(database, every=True) if task.id == facts.id]
        assert (len(latest), len(every)) == (1, 41)
        assert latest[0].notes == str(view.id)
        assert tuple(r.system for r in latest[0].ratings) == view.systems
        assert latest[0].guideline == "instrux-1"


def test_a_draft_comes_back_until_the_answer_is_sent(make):
    with opened(make(), write=True) as database:
        labellers.add(database, name="anna")
        labeller = labellers.named(database, "anna")
        facts = next(shown_tasks(database)).facts
        view = open_view(database, facts, labeller)
        save_draft(database, facts.id, labeller, Content({"sft": {"overall": "3"}}, None, "hm"))
        assert content_for(database, facts.id, labeller).notes == "hm"
        submit(database, facts.id, labeller, view, Content(notes="done"))
        assert content_for(database, facts.id, labeller).notes == "done"


def test_new_guidelines_are_stored_with_later_answers_alone(make, answer_all):
    path = make()
    answer_all(path)
    with opened(path, write=True) as database:
        study.set_guidelines(database, version="2", text="Be strict.")
        with pytest.raises(InputError, match="version '2' exist"):
            study.set_guidelines(database, version="2", text="Be mild.")
        labellers.retire(database, "anna")
        database.execute("DELETE FROM answers WHERE id > 2")
    answer_all(path, "ben")
    with opened(path) as database:
        given = {record.labeller: record.guideline for _, record in records_of(database)}
    assert given == {"anna": "instrux-1", "ben": "2"}
