"""The toxicity form: what is asked, kept, exchanged with other tools, and made into statistics."""

import json
from xml.etree import ElementTree

import pytest
from starlette.testclient import TestClient

from instrux.errors import InputError
from instrux.evaluation.label_records import record_of, to_json_line
from instrux.evaluation.label_results import evaluate_labels
from instrux.evaluation.label_tables import tables
from instrux.studio.app import create_app
from instrux.studio.label import argilla, label_studio, labellers
from instrux.studio.label.answers import records_of
from instrux.studio.label.form import TaskFacts, questions
from instrux.studio.label.routes import subject
from instrux.studio.label.study import StudySettings, guidelines_of, opened

FIELDS = {
    "input_toxicity": "1",
    "output_toxicity_A": "0", "relative_toxicity_A": "-1", "continuity_A": "7", "rank_A": "1",
    "output_toxicity_B": "2", "relative_toxicity_B": "1", "continuity_B": "4", "rank_B": "2",
    "output_toxicity_C": "0", "relative_toxicity_C": "0", "continuity_C": "1", "rank_C": "2",
}  # fmt: skip


def test_the_paper_s_scales_are_asked_of_the_prompt_once_and_of_each_output():
    outputs = {"sft": "a", "gpt": "b"}
    task = TaskFacts("t", "p", "He was", "", None, None, outputs)
    asked = questions(task, StudySettings(mode="toxicity"))
    assert [(q.name, "".join(o.key for o in q.options), q.part) for q in asked] == [
        ("input_toxicity", "012", "prompt"),
        ("output_toxicity_A", "012", "A"),
        ("relative_toxicity_A", "-01", "A"),
        ("continuity_A", "1234567", "A"),
        ("output_toxicity_B", "012", "B"),
        ("relative_toxicity_B", "-01", "B"),
        ("continuity_B", "1234567", "B"),
        ("rank_A", "12", "ranking"),
        ("rank_B", "12", "ranking"),
    ]


@pytest.fixture
def answered(make):
    """A study of four prompts, each answered over HTTP as `FIELDS` has it; its file."""
    path = make(mode="toxicity", share=0.0)
    with opened(path, write=True) as database:
        token = labellers.add(database, name="anna")
        assert "Continuity" in guidelines_of(database)[1]
    app = create_app([subject(path)])
    client = TestClient(app, base_url="http://127.0.0.1:8642", follow_redirects=False)
    client.post("/label/sign-in", data={"name": "anna", "token": token})
    place = client.get("/label/next").headers["location"]
    for _ in range(4):
        html = client.get(place).text
        hidden = {
            name: html.split(f'name="{name}" value="')[1].split('"')[0]
            for name in ("form_token", "view")
        }
        assert "How toxic is the prompt" in html and "Continuation C" in html
        assert "no to the rest" not in html
        incomplete = {k: v for k, v in FIELDS.items() if k != "input_toxicity"}
        assert client.post(place, data=hidden | incomplete).status_code == 422
        place = client.post(place, data=hidden | FIELDS).headers["location"]
    assert place == "/label"
    return path


def test_answers_are_kept_by_system_and_become_means(answered):
    with opened(answered) as database:
        records = [record for _, record in records_of(database)]
    assert [record.prompt_scales for record in records] == [{"input_toxicity": 1}] * 4
    for record in records:
        first = record.ratings[0]  # A, whichever system it was
        assert first.scales == {"output_toxicity": 0, "relative_toxicity": -1, "continuity": 7}
        assert record.ranking is not None
        assert record.ranking[0] == (first.system,) and len(record.ranking[1]) == 2
        assert record_of(json.loads(to_json_line(record)), "") == record
    results = evaluate_labels(records)
    means = {(mean.scale, mean.system): mean for mean in results.overall.scales}
    prompts = means["input_toxicity", ""]
    assert (prompts.n, prompts.mean, prompts.counts) == (4, 1.0, {0: 0, 1: 4, 2: 0})
    # A, B and C are given to three systems each time, so that the sums are known: 0 + 2 + 0, -1 + 1 + 0.
    for scale, total in (("output_toxicity", 2), ("relative_toxicity", 0), ("continuity", 12)):
        of_systems = [mean for (name, system), mean in means.items() if name == scale and system]
        assert len(of_systems) == 3
        assert sum(mean.mean for mean in of_systems) == pytest.approx(total)
    (table,) = [each for each in tables(results) if each.title == "Toxicity and continuity"]
    assert table.rows[0][:5] == ("toxicity of the prompt", "–", "4", "1.00", "1.00 to 1.00")


def test_means_and_agreement_by_hand():
    def record(prompt, labeller, toxicity, of_prompt):
        return record_of(
            {
                "schema": "instrux.labels/1", "prompt_id": prompt, "labeller": labeller,
                "submitted": f"2026-01-01T00:00:0{labeller}",
                "prompt_scales": {"input_toxicity": of_prompt},
                "ratings": [{"system": "sft", "scales": {"output_toxicity": toxicity}}],
            }, "",
        )  # fmt: skip

    given = [record("p", "1", 0, 1), record("p", "2", 2, 1), record("q", "1", 1, 0), record("q", "2", 1, 2)]  # fmt: skip
    overall = evaluate_labels(given).overall
    assert [(m.scale, m.system, m.n, m.mean) for m in overall.scales] == [
        ("input_toxicity", "", 2, 0.5),  # the first labeller's word on each prompt
        ("output_toxicity", "sft", 2, 0.5),
    ]
    assert [(a.question, a.agreement.n, a.agreement.raw, a.agreement.level) for a in overall.agreement] == [
        ("input_toxicity", 2, 0.5, "ordinal"), ("output_toxicity", 2, 0.5, "ordinal"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_scales": {"input_toxicity": 3}}, r"should be one of \[0, 1, 2\], found 3"),
        ({"prompt_scales": {"continuity": 3}}, "no scale 'continuity' of prompts"),
        ({"ratings": [{"system": "s", "scales": {"input_toxicity": 1}}]}, "of outputs"),
        ({"ratings": [{"system": "s", "scales": {"continuity": True}}]}, "found True"),
    ],
)
def test_a_value_off_its_scale_is_refused(change, message):
    line = {"schema": "instrux.labels/1", "prompt_id": "p", "labeller": "a", "submitted": "2026-01-01T00:00:00", "ratings": [{"system": "s"}]}  # fmt: skip
    with pytest.raises(InputError, match=message):
        record_of(line | change, "here")


def _scales(record):
    of_outputs = {rating.system: rating.scales for rating in record.ratings}
    return record.prompt_scales, of_outputs, record.ranking


def test_answers_come_back_from_other_tools(answered, make, tmp_path):
    with opened(answered) as database:
        argilla.export(database, tmp_path / "argilla")
        label_studio.export(database, tmp_path / "studio")
        expected = {task.id: _scales(record) for task, record in records_of(database)}
    for number, (tool, file) in enumerate(
        [(argilla, "argilla/records.json"), (label_studio, "studio/tasks.json")]
    ):
        path = make(f"again{number}.db", mode="toxicity", share=0.0)
        with opened(path, write=True) as database:
            assert tool.import_answers(database, tmp_path / file) == 4
            assert {task.id: _scales(record) for task, record in records_of(database)} == expected
    settings = json.loads((tmp_path / "argilla/.argilla/settings.json").read_text())
    asked = {question["name"]: question["settings"] for question in settings["questions"]}
    assert [o["value"] for o in asked["relative_toxicity_a"]["options"]] == ["-1", "0", "1"]
    assert [o["value"] for o in asked["continuity_a"]["options"]] == [1, 2, 3, 4, 5, 6, 7]
    view = ElementTree.parse(tmp_path / "studio/config.xml")
    (control,) = [each for each in view.iter("Choices") if each.get("name") == "input_toxicity"]
    assert control.get("toName") == "prompt"
