"""Studies: importing, who is asked what, tokens, and the exchange with other tools."""

import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.errors import InputError
from instrux.evaluation.label_flags import FLAGS
from instrux.evaluation.label_records import LabelRecord
from instrux.studio.label import argilla, label_studio, labellers, study
from instrux.studio.label.answers import (
    content_for,
    open_view,
    progress_of,
    records_of,
    save_draft,
    submit,
    task_of,
)
from instrux.studio.label.assignment import assigned, overlap
from instrux.studio.label.exchange import import_records, shown_tasks
from instrux.studio.label.form import (
    Content,
    TaskFacts,
    content_of,
    fields_of,
    parse,
    questions,
    to_record,
    unanswered,
)
from instrux.studio.label.importing import import_items, task_systems
from instrux.studio.label.study import StudySettings, opened

SYSTEMS = ("sft", "flan", "gpt")


def _facts(systems=SYSTEMS, **known):
    properties = {"closed_domain": None, "has_constraint": None} | known
    return TaskFacts(
        "t", "p", "Do it.", "Chat", outputs=dict.fromkeys(systems, "Done."), **properties
    )


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


# ---- the form


def test_the_form_asks_what_the_paper_asks_and_of_closed_domains_alone_for_hallucination():
    def kinds(**known):
        asked = questions(_facts(("sft",), **known), StudySettings())
        return [question.kind for question in asked]

    everything = ["overall", *(flag.name for flag in FLAGS)]
    assert kinds() == kinds(closed_domain=True, has_constraint=True) == everything
    lacking = kinds(closed_domain=False, has_constraint=False)
    assert lacking == [k for k in everything if k not in ("hallucination", "satisfies_constraint")]
    several = questions(_facts(), StudySettings())
    assert [q.name for q in several if q.kind == "rank"] == ["rank_A", "rank_B", "rank_C"]
    pair = questions(_facts(("a", "b")), StudySettings(mode="pairs"))
    assert [len(q.options) for q in pair] == [2, 2, 5]


@given(st.data(), st.permutations(SYSTEMS), st.permutations(SYSTEMS))
def test_what_is_answered_belongs_to_systems_whatever_the_order_of_the_page(data, one, other):
    asked = questions(_facts(), StudySettings())
    fields = {
        q.name: data.draw(st.sampled_from([o.value for o in q.options]))
        for q in asked
        if data.draw(st.booleans())
    }
    content = parse(fields, asked, one)
    assert fields_of(content, asked, one) == fields
    assert parse(fields_of(content, asked, other), asked, other) == content
    assert {q.name for q in unanswered(content, asked, one)} == {q.name for q in asked} - set(
        fields
    )
    stored = Content(**json.loads(json.dumps(content.as_json())))
    assert stored == content


@given(
    st.permutations(("x", "y")), st.sampled_from(["A-clearly", "A-slightly", "tie", "B-clearly"])
)
def test_a_preference_is_stored_for_a_system_and_not_for_a_side(order, value):
    asked = questions(_facts(("x", "y")), StudySettings(mode="pairs"))
    content = parse({"preference": value, "acceptable_A": "no"}, asked, order)
    record = to_record(_facts(("x", "y")), content, order)
    assert record.preference is not None
    wanted = {"A": order[0], "B": order[1], "t": None}[value[0]]
    assert record.preference.better == wanted
    assert next(r for r in record.ratings if r.system == order[0]).acceptable is False
    assert fields_of(content_of(record), asked, order)["preference"] == value


def test_values_that_are_no_option_are_passed_over():
    asked = questions(_facts(), StudySettings())
    content = parse({"overall_A": "8", "rank_B": "0", "nonsense": "1"}, asked, SYSTEMS)
    assert content == Content()


# ---- who is asked what

NAMES = st.lists(st.text("abcdef", min_size=1, max_size=3), unique=True, min_size=1, max_size=5)


@given(NAMES, st.floats(0, 1), st.integers(0, 3))
def test_every_task_is_asked_once_in_a_group_and_the_overlap_twice(group, share, seed):
    tasks = [f"t{i}" for i in range(40)]
    settings = StudySettings(share=share, seed=seed)
    several = overlap(tasks, settings)
    assert len(several) == round(share * 40)
    times = dict.fromkeys(tasks, 0)
    for name in group:
        for task in assigned(tasks, name, group=group, answered={}, settings=settings):
            times[task] += 1
    assert times == {t: min(len(group), 2 if t in several else 1) for t in tasks}


def test_a_labeller_who_joins_takes_only_what_becomes_theirs():
    tasks, settings = [f"t{i}" for i in range(200)], StudySettings(share=0.0)

    def of(name, group, answered=None):
        return set(assigned(tasks, name, group=group, answered=answered or {}, settings=settings))

    before, after = of("ann", ["ann", "bob"]), of("ann", ["ann", "bob", "cy"])
    assert after < before
    assert before - after <= of("cy", ["ann", "bob", "cy"])
    kept = {task: {"ann"} for task in before}
    assert of("ann", ["ann", "bob", "cy"], kept) == before


def test_the_groups_are_asked_apart(make):
    path = make(share=0.0)
    with opened(path, write=True) as database:
        for name, group in (("ann", "training"), ("bob", "held-out")):
            labellers.add(database, name=name, group=group)
        for name in ("ann", "bob"):
            assert len(progress_of(database, labellers.named(database, name)).tasks) == 4


def test_whoever_is_let_go_leaves_open_tasks_to_others_and_keeps_answers(make):
    path = make(share=0.0)
    _answer_all(path, "ann")
    with opened(path, write=True) as database:
        labellers.add(database, name="bob")
        assert not progress_of(database, labellers.named(database, "bob")).tasks
        labellers.retire(database, "ann")
        assert not progress_of(database, labellers.named(database, "bob")).tasks
        assert len(list(records_of(database))) == 4


# ---- tokens


def test_a_token_signs_in_its_owner_alone_and_is_not_in_the_file(make):
    path = make()
    with opened(path, write=True) as database:
        token = labellers.add(database, name="anna")
        labellers.add(database, name="ben")
        secret = labellers.sign_in(database, name="anna", token=f" {token.upper()} ")
        assert secret is not None
        assert labellers.sign_in(database, name="ben", token=token) is None
        assert labellers.sign_in(database, name="nobody", token=token) is None
        assert labellers.sign_in(database, name="anna", token="") is None
        found = labellers.signed_in(database, secret)
        assert found is not None and found.name == "anna"
    content = b"".join(file.read_bytes() for file in path.parent.glob("study.db*"))
    assert token.encode() not in content and secret.encode() not in content
    with opened(path, write=True) as database:
        assert labellers.renew(database, "anna") != token
        assert labellers.signed_in(database, secret) is None
        assert labellers.sign_in(database, name="anna", token=token) is None


def test_a_labeller_from_elsewhere_cannot_sign_in_without_a_token(make):
    with opened(make(), write=True) as database:
        labellers.imported(database, name="far", group="")
        database.execute("UPDATE labellers SET active = 1")
        assert labellers.sign_in(database, name="far", token="") is None


# ---- importing


def test_importing_twice_changes_nothing_and_a_contradiction_is_named(make, tmp_path):
    path = make()
    with opened(path, write=True) as database:
        held = import_items(database, prompt_files=[_items(tmp_path)])
    assert (held.prompts, held.outputs, held.tasks) == (4, 12, 4)
    other = _lines(tmp_path / "other.jsonl", {"id": "p1", "output": "something else"})
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
def test_a_line_that_is_no_output_is_named_and_nothing_is_imported(make, tmp_path, line, wanted):
    path = make()
    good = {"id": "p0", "output": "a new system's"}
    file = _lines(tmp_path / "new.jsonl", good, line)
    with pytest.raises(InputError, match=f"new.jsonl:2: .*{wanted}"):
        with opened(path, write=True) as database:
            import_items(database, output_files=[("new", file)])
    with opened(path) as database:
        assert database.execute("SELECT count(*) FROM outputs").fetchone()[0] == 12


def test_outputs_find_their_prompts_by_text_and_a_new_system_leaves_opened_tasks_alone(
    make, tmp_path
):
    path = make()
    with opened(path, write=True) as database:
        labellers.add(database, name="anna")
        labeller = labellers.named(database, "anna")
        facts = next(shown_tasks(database)).facts
        open_view(database, facts, labeller)
        file = _lines(
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


# ---- files that are no studies


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


# ---- answers


def test_the_latest_answer_counts_and_the_order_shown_is_drawn_and_stored(make):
    path = make()
    for pick in (1, 2):
        with opened(path, write=True) as database:
            database.execute("DELETE FROM drafts")
        _answer_all(path, pick=pick)
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


def test_new_guidelines_are_stored_with_later_answers_alone(make):
    path = make()
    _answer_all(path)
    with opened(path, write=True) as database:
        study.set_guidelines(database, version="2", text="Be strict.")
        with pytest.raises(InputError, match="version '2' exist"):
            study.set_guidelines(database, version="2", text="Be mild.")
        labellers.retire(database, "anna")
        database.execute("DELETE FROM answers WHERE id > 2")
    _answer_all(path, "ben")
    with opened(path) as database:
        given = {record.labeller: record.guideline for _, record in records_of(database)}
    assert given == {"anna": "instrux-1", "ben": "2"}


# ---- exchange


def _comparable(path):
    with opened(path) as database:
        records = [record for _, record in records_of(database)]
    return sorted(
        (r.prompt_id, r.labeller, sorted(map(repr, r.ratings)), r.ranking, r.preference, r.notes)
        for r in records
    )


@pytest.mark.parametrize("mode", ["form", "pairs"])
@pytest.mark.parametrize("tool", [argilla, label_studio])
def test_answers_come_back_from_other_tools_as_they_went(make, tmp_path, mode, tool):
    path = make(mode=mode)
    _answer_all(path)
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


def test_our_own_records_come_back_and_unknown_tasks_are_named(make):
    path = make()
    _answer_all(path)
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
