"""Pages about runs and evaluations: drill-down, filters, and rows side by side."""

import html
import json
import re

import pytest

from instrux.studio.results.catalogue import Catalogue

TASK = "rte_can_we_infer"


@pytest.fixture
def ids(runs):
    found = Catalogue([runs]).evaluations().values()
    return {each.name.split("/")[0]: each.id for each in found}


def _rows(text):
    """The row number of every prediction on a page."""
    return [int(n) for n in re.findall(r"super_glue/rte/validation/(\d+)", text)]


def test_a_dot_leads_to_the_predictions_of_its_prompt(client, ids):
    figure = client.get("/evaluations/figure", params={"of": ids["tuned"]}).text
    (place,) = re.findall(r'href="(/evaluations/task\?[^"]*)"', figure)
    page = client.get(html.unescape(place))
    assert page.status_code == 200
    assert _rows(page.text) == list(range(25))
    # 40 of 60 are right: two thirds.
    assert "66.7" in page.text and "Yes" in page.text
    assert "<script>alert" not in page.text and "&lt;script&gt;alert" in page.text


def test_right_and_wrong_and_pages(client, ids):
    asked = {"of": ids["tuned"], "task": TASK}
    wrong = client.get("/evaluations/task", params=asked | {"show": "wrong"}).text
    assert _rows(wrong) == list(range(40, 60))
    assert "all (60)" in wrong and "right (40)" in wrong and "wrong (20)" in wrong
    second = client.get("/evaluations/task", params=asked | {"show": "right", "page": 2}).text
    assert _rows(second) == list(range(25, 40))
    beyond = client.get("/evaluations/task", params=asked | {"page": "999999999"}).text
    assert _rows(beyond) == list(range(50, 60))
    lowest = client.get("/evaluations/task", params=asked | {"order": "low"}).text
    assert _rows(lowest)[:3] == [40, 41, 42]


@pytest.mark.parametrize(
    "show, expected",
    [
        ("differ", [n for n in range(60) if n != 5 and (n < 30 or n >= 40)]),
        ("first", [n for n in range(30) if n != 5]),
        ("others", list(range(40, 60))),
        ("none", []),
    ],
)
def test_models_side_by_side_on_the_rows_that_both_answered(client, ids, show, expected):
    asked = [("of", ids["tuned"]), ("of", ids["plain"]), ("task", TASK), ("show", show)]
    page = client.get("/evaluations/compare", params=asked).text
    assert _rows(page) == expected[:25]
    assert "59 of 60 rows were answered by all" in page


def test_only_what_was_found_can_be_named(client, ids):
    for place in (
        "/evaluations/task?of=0123456789ab&task=x",
        f"/evaluations/task?of={ids['tuned']}&task=../../../etc/passwd",
        "/runs/..%2f..%2fetc",
        "/runs/unknown/metrics",
        "/evaluations/figure",
    ):
        assert client.get(place).status_code == 404, place


def test_curves_go_on_where_the_last_reading_ended(client, runs):
    (run,) = [r for r in Catalogue([runs]).runs().values() if r.name == "tuned"]
    first = client.get(f"/runs/{run.id}/metrics").json()
    assert [row["step"] for row in first["rows"]] == list(range(1, 11))
    assert first["rows"][3]["loss"] == 1.0
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 11, "loss": 0.5, "tokens_per_second": None}) + "\n")
        file.write('{"step": 12, "lo')
    again = client.get(f"/runs/{run.id}/metrics?after={first['offset']}").json()
    assert again["rows"] == [{"step": 11, "loss": 0.5}]
    (run.path / "metrics.jsonl").write_text('{"step": 1, "loss": 4.0}\n')
    anew = client.get(f"/runs/{run.id}/metrics?after={again['offset']}").json()
    assert anew["restarted"] and anew["rows"] == [{"step": 1, "loss": 4.0}]


def test_lists_show_runs_and_evaluations_and_what_cannot_be_read(client, runs):
    assert "train.train.train_steps = 10" in client.get(_run_page(client)).text
    broken = runs / "broken" / "eval" / "3" / "results.json"
    broken.parent.mkdir(parents=True)
    broken.write_text('{"model_dir": 3, "tasks": []')
    Catalogue.__init__(client.app.state.catalogue, [runs])
    page = client.get("/evaluations").text
    assert "tuned/eval/10" in page and "<strong>66.7</strong>" in page
    assert "broken/eval/3" in page and "delete it and evaluate again" in page


def _run_page(client):
    return re.findall(r'href="(/runs/[0-9a-f]{12})"', client.get("/runs").text)[0]
