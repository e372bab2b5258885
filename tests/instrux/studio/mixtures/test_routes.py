"""Pages about tasks and mixtures, over declarations that are plain data."""

from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from instrux.errors import InputError
from instrux.studio.app import create_app
from instrux.studio.mixtures import routes


def _task(number):
    return SimpleNamespace(
        task=f"task_{number}", cluster="nli" if number % 2 else "qa", rate=300.0 - number,
        probability=(300.0 - number) / 45150, train_examples=None if number == 1 else 1000 + number,
        licence=None, defects=("typo",) if number == 2 else (), mended=False, tokens=None,
    )  # fmt: skip


def _part(name):
    return SimpleNamespace(
        name=name, tasks=150, datasets=3, rate=1.0, probability=0.5, token_share=None
    )


class Declared:
    """1,900 mixtures of 300 tasks; registered when `loaded` is set."""

    loaded = True

    def ready(self, seconds):
        return self.loaded

    def mixtures(self):
        return [f"flan_{number:04}_train" for number in range(1900)]

    def tasks(self):
        return ["task_1", "task_2"]

    def families(self, kind):
        return {"t0_train_p{N}": (), "sets_{1..3}": [f"sets_{n}" for n in (1, 2, 3)]}

    def mixture(self, name):
        if not name.startswith("flan"):
            raise InputError(f"unknown task or mixture {name!r}. Did you mean 'flan_0001_train'?")
        held = {"cluster": "nli", "evaluation": "e", "prompts": 10}
        return SimpleNamespace(
            mixture=name, rate=45150.0, tasks=[_task(n) for n in range(300)], with_defects=1,
            task_types=(_part("nli"), _part("qa")), licences=(_part("unknown"),),
            held_out=(
                SimpleNamespace(dataset="rte", trained_on=True, task_type_trained_on=True, **held),
                SimpleNamespace(dataset="cb", trained_on=False, task_type_trained_on=False, **held),
            ),
            token_source=None, inputs_per_example=None, targets_per_example=None,
        )  # fmt: skip

    def task(self, name):
        return {"name": name, "jinja": "{{a}} ||| <b>", "metrics": ["accuracy"], "cluster": None}


@pytest.fixture
def client():
    return TestClient(create_app([routes.subject(Declared())]), base_url="http://localhost")


def test_names_are_searched_and_paged(client):
    page = client.get("/mixtures").text
    assert page.count("/mixtures/show?name=flan_") == 100 and "1–100 of 1,900" in page
    assert "t0_train_p{N}" in page and "3 listed" in page
    family = client.get("/mixtures?family=sets_%7B1..3%7D").text
    assert family.count("/mixtures/show?name=sets_") == 3 and "flan_0001" not in family
    assert client.get("/mixtures?family=sets_%7B1..3%7D&q=2").text.count("show?name=sets_") == 1
    assert client.get("/mixtures?q=flan+0012").text.count("/mixtures/show?name=flan_") == 1
    missing = client.get("/mixtures?q=t0_train_p5").text
    assert "/mixtures/show?name=t0_train_p5" in missing  # a rule may define it


def test_a_mixture_shows_rates_held_out_sets_and_its_tasks_by_pages(client):
    page = client.get("/mixtures/show?name=flan_0001_train").text
    assert page.count("/tasks/show?name=") == 100 and "45,150" in page
    assert page.count("trained on") == 1 and "the task type" in page
    assert page.count(">defect<") == 1 and "0.66 %" in page  # 300 of 45,150
    last = client.get("/mixtures/show?name=flan_0001_train&page=3").text
    assert "task_299" in last and "task_199" not in last
    unknown = client.get("/mixtures/show?name=absent")
    assert unknown.status_code == 400 and "Did you mean" in unknown.text


def test_a_task_shows_its_template_as_text(client):
    page = client.get("/tasks/show?name=task_1").text
    assert "{{a}} ||| &lt;b&gt;" in page and "accuracy" in page


def test_a_page_that_waits_loads_itself_again(client, monkeypatch):
    monkeypatch.setattr(Declared, "loaded", False)
    page = client.get("/mixtures")
    assert page.headers["refresh"] == "2" and "being registered" in page.text
