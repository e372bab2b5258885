"""Pages about templates: found, rendered, and written in one's own folder alone."""

import html
import json
import re

import pytest
from starlette.testclient import TestClient

from instrux.prompts import TemplateCollection
from instrux.prompts.template_writing import TemplateDraft, new_template_file
from instrux.studio.access import Access
from instrux.studio.app import create_app
from instrux.studio.prompts import routes

HOSTILE = "<img src=x onerror=alert(1)>"


def _collection(folder, dataset, **templates):
    file = new_template_file(folder, dataset)
    for name, jinja in templates.items():
        choices = "Yes ||| No" if "answer_choices" in jinja else ""
        file.put(TemplateDraft(name=name, jinja=jinja, answer_choices=choices))
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.write_bytes(file.content())
    return file.path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A release-like folder with three templates, an empty folder of one's own, and mirrored rows."""
    follows = "{{premise}} So {{hypothesis}}?\n|||\n{{answer_choices[label]}}"
    _collection(
        tmp_path / "release", "glue/rte", follows=follows, plain="{{premise}} ||| {{label}}"
    )
    _collection(tmp_path / "release", "imdb", **{"review": "{{text}} ||| {{label}}"})
    rows = tmp_path / "mirror" / "glue" / "rte" / "validation.jsonl"
    rows.parent.mkdir(parents=True)
    made = [{"premise": f"P{n} {HOSTILE}", "hypothesis": f"H{n}", "label": n % 2} for n in range(5)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in made))
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "own").mkdir()
    return tmp_path


@pytest.fixture
def client(place):
    access = Access()
    subject = routes.subject([str(place / "release")], place / "own")
    with TestClient(create_app([subject], access=access), base_url="http://localhost") as client:
        client.get(f"/?token={access.token}")
        yield client


def _fields(page):
    """What a browser would send of the form that writes."""
    form = page[page.index('id="render"') :]
    fields = dict(re.findall(r'<input[^>]*name="(\w+)" value="([^"]*)"', form))
    # A browser drops the line break behind the tag.
    fields |= dict(
        re.findall(r'<textarea[^>]*name="(\w+)"[^>]*>\n(.*?)</textarea>', form, re.DOTALL)
    )
    return {name: html.unescape(value) for name, value in fields.items()}


def _own(place):
    return TemplateCollection.load(place / "own")


def test_search_pages_and_datasets(client, place):
    names = lambda page: re.findall(r"name=(\w+)\"", page)  # noqa: E731
    assert names(client.get("/templates").text) == ["follows", "plain", "review"]
    assert names(client.get("/templates?q=RTE+premise+so").text) == ["follows"]
    assert names(client.get("/templates?dataset=imdb").text) == ["review"]
    assert "No template like that" in client.get("/templates?q=zebra").text


def test_a_row_of_the_mirror_is_rendered_with_its_choices(client, place):
    asked = {"in": str(place / "release"), "dataset": "glue/rte", "name": "follows"}
    page = client.get("/templates/view", params=asked | {"row": 3}).text
    rendered = html.unescape(page[page.index("preview-inputs") :])
    assert f"P3 {HOSTILE} So H3?" in rendered and ">No</div>" in rendered
    assert "<li>Yes</li><li>No</li>" in rendered and "<img" not in page
    nearest = client.get("/templates/view", params=asked | {"row": 999, "split": "absent"}).text
    assert "P4" in nearest
    assert client.get("/templates/view", params=asked | {"name": "absent"}).status_code == 404
    assert client.get("/templates/view", params=asked | {"in": "/etc"}).status_code == 404


def test_what_is_pasted_is_rendered_or_its_error_is_told(client, place):
    page = client.get("/templates/new").text
    token = _fields(page)["form_token"]

    def made(jinja, row):
        sent = {"form_token": token, "jinja": jinja, "row": row, "name": "n", "dataset": "d"}
        return client.post("/templates/preview", data=sent).json()

    assert made("{{a}} ||| {{b}}", '{"a": "x", "b": "y"}')["targets"] == "y"
    assert "not JSON" in made("{{a}}", "{a: 1}")["problem"]
    assert "no target" in made("{{a}}", '{"a": "x"}')["problem"]
    assert "does not apply" in made("{% if b %}{{a}} ||| c{% endif %}", '{"a": "x"}')["problem"]
    assert made("{{ a[", '{"a": "x"}')["failed"]
    assert made("{{ ''.__class__.__mro__ }} ||| b", "{}")["failed"]
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}"
    assert made(endless, "{}")["failed"]


def test_a_template_is_written_changed_copied_and_deleted(client, place):
    form = _fields(client.get("/templates/new?dataset=shop/faq").text)
    written = form | {
        "name": "mine",
        "jinja": "\r\n{{q}}\r\n|||\r\n{{a}}",
        "metrics": "ROUGE, BLEU",
    }
    saved = client.post("/templates/save", data=written | {"action": "save"})
    assert saved.status_code == 200 and "mine" in str(saved.url)
    template = _own(place)["shop/faq"]["mine"]
    assert template.jinja == "\n{{q}}\n|||\n{{a}}" and template.metadata.metrics == (
        "ROUGE",
        "BLEU",
    )

    asked = {"in": str(place / "own"), "dataset": "shop/faq", "name": "mine"}
    form = _fields(client.get("/templates/edit", params=asked).text)
    assert form["jinja"] == template.jinja  # nothing is lost on the way through a form
    client.post("/templates/save", data=form | {"name": "renamed"})
    assert list(_own(place)["shop/faq"]) == ["renamed"]
    assert _own(place)["shop/faq"]["renamed"].id == template.id

    source = {"in": str(place / "release"), "dataset": "glue/rte", "name": "follows"}
    copied = _fields(client.get("/templates/new", params=source).text)
    client.post("/templates/save", data=copied)
    assert _own(place)["glue/rte"]["follows"].answer_choices == "Yes ||| No"

    asked |= {"name": "renamed"}
    page = client.get("/templates/view", params=asked).text
    form = page[page.index('action="/templates/delete"') :]
    sent = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form.split("</form>")[0]))
    client.post("/templates/delete", data=sent)
    assert list(_own(place)) == ["glue/rte"] and not (place / "own" / "shop" / "faq").exists()


def test_nothing_is_written_by_mistake(client, place):
    form = _fields(client.get("/templates/new?dataset=shop").text) | {
        "name": "a",
        "jinja": "{{x}}|||b",
    }
    save = lambda **changed: client.post("/templates/save", data=form | changed)  # noqa: E731
    assert save(form_token="").status_code == 403
    assert save(dataset="../out").status_code == 422
    assert save(jinja="{{ x |||").status_code == 422
    failing = save(row='{"x": {}}', jinja="{{ x.y.z }} ||| b")
    assert failing.status_code == 422 and "although this row fails" in failing.text
    assert save(action="preview", row='{"x": "shown"}').status_code == 200
    assert not list((place / "own").rglob("*"))
    assert save().status_code == 200
    assert save(name="b").status_code == 200
    taken = save(name="b")
    assert taken.status_code == 422 and "another name" in taken.text
    asked = {"in": str(place / "own"), "dataset": "shop", "name": "a"}
    first = _fields(client.get("/templates/edit", params=asked).text)
    client.post("/templates/save", data=first | {"jinja": "{{x}}|||first"})
    late = client.post("/templates/save", data=first | {"jinja": "{{x}}|||late"})
    assert late.status_code == 422 and "changed meanwhile" in late.text and "late" in late.text
    assert _own(place)["shop"]["a"].jinja == "{{x}}|||first"
    release = {"in": str(place / "release"), "dataset": "imdb", "name": "review"}
    assert client.get("/templates/edit", params=release).status_code == 403


def test_a_broken_file_is_told_and_hides_no_other(client, place):
    broken = place / "own" / "bad" / "templates.yaml"
    broken.parent.mkdir()
    broken.write_text("templates: [")
    page = client.get("/templates").text
    assert "bad/templates.yaml" in page and "follows" in page
