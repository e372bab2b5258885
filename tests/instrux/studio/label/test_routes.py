"""The label pages over HTTP: who gets in, what is escaped, kept and sent on."""

import json
import re

import pytest
from starlette.testclient import TestClient

from instrux.errors import InputError
from instrux.studio.app import create_app
from instrux.studio.label import labellers, study
from instrux.studio.label.answers import records_of
from instrux.studio.label.attempts import Attempts
from instrux.studio.label.importing import import_items
from instrux.studio.label.routes import cookie_of, subject
from instrux.studio.label.study import StudySettings, opened
from instrux.studio.security import MAX_BODY, check_bind, host_name

EVIL = "<script>alert('x')</script>\"&"


@pytest.fixture
def path(tmp_path):
    """A study of two prompts with two outputs each, whose texts are hostile, and two labellers."""
    path = tmp_path / "study.db"
    study.create(path, StudySettings(share=0.0))
    lines = [
        {
            "id": f"p{i}",
            "prompt": f"{EVIL}{i}",
            "outputs": {"sysone": EVIL, "systwo": "</textarea>"},
        }
        for i in range(2)
    ]
    file = tmp_path / "items.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with opened(path, write=True) as database:
        import_items(database, prompt_files=[file])
    return path


def _client(path):
    # No context manager: the application holds nothing to start or stop.
    app = create_app([subject(path)])
    return TestClient(app, base_url="http://127.0.0.1:8642", follow_redirects=False)


def _sign_in(path, client, name="anna"):
    with opened(path, write=True) as database:
        token = labellers.add(database, name=name)
    answer = client.post("/label/sign-in", data={"name": name, "token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/label")
    return answer


def _open(client):
    """Follows to the next task: its path, and the fields of its form with every question's first option."""
    place = client.get("/label/next").headers["location"]
    html = client.get(place).text
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html))
    options = re.findall(r'type="radio" name="(\w+)" value="(\w+)"', html)
    fields |= {name: value for name, value in reversed(options)}
    return place, fields, html


def test_nobody_gets_in_without_signing_in(path):
    client = _client(path)
    for place in ("/label", "/label/next", "/label/guidelines", "/label/task/x"):
        assert client.get(place).headers["location"] == "/label/sign-in"
    assert client.post("/label/task/x", data={}).status_code == 401
    assert client.post("/label/task/x/draft", data={}).status_code == 401
    wrong = client.post("/label/sign-in", data={"name": "anna", "token": "guess"})
    assert wrong.status_code == 403 and "set-cookie" not in wrong.headers
    client.cookies.set(cookie_of(path), "made-up")
    assert client.get("/label").status_code == 303


def test_who_fails_to_sign_in_too_often_must_wait(path):
    client = _client(path)
    with opened(path, write=True) as database:
        token = labellers.add(database, name="anna")
    now = [0.0]
    client.app.state.label_attempts = Attempts(failures=3, seconds=60, clock=lambda: now[0])
    for _ in range(3):
        assert client.post("/label/sign-in", data={"name": "anna", "token": "x"}).status_code == 403
        now[0] += 10
    refused = client.post("/label/sign-in", data={"name": "anna", "token": token})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
    assert "Wait 30 seconds" in refused.text and "set-cookie" not in refused.headers
    now[0] = 61.0
    right = client.post("/label/sign-in", data={"name": "anna", "token": token})
    assert right.status_code == 303
    for _ in range(2):  # what came before a success does not count
        assert client.post("/label/sign-in", data={"name": "anna", "token": "x"}).status_code == 403


def test_failures_are_counted_for_each_client_and_forgotten():
    now = [0.0]
    attempts = Attempts(failures=2, seconds=10, clock=lambda: now[0])
    attempts.failed("a")
    assert attempts.wait("a") == 0
    now[0] = 4.0
    attempts.failed("a")
    assert (attempts.wait("a"), attempts.wait("b")) == (6.0, 0.0)
    now[0] = 10.0
    assert attempts.wait("a") == 0.0
    attempts.failed("a")  # at 10, after one at 4: full again until 14
    assert attempts.wait("a") == 4.0


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(path):
    cookie = _sign_in(path, _client(path)).headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie


def test_an_answer_is_taken_and_the_next_task_comes(path):
    client = _client(path)
    _sign_in(path, client)
    place, fields, _ = _open(client)
    sent = client.post(place, data=fields | {"notes": "line 1\r\nline 2"})
    assert sent.status_code == 303
    following = sent.headers["location"]
    assert following.startswith("/label/task/") and following != place
    with opened(path) as database:
        ((_, record),) = records_of(database)
    assert record.labeller == "anna" and record.notes == "line 1\nline 2"
    assert [rating.overall for rating in record.ratings] == [1, 1]
    assert record.ranking == (("sysone", "systwo"),)
    _, fields, _ = _open(client)
    sent = client.post(following, data=fields, headers={"accept": "application/json"})
    assert sent.json() == {"next": "/label"}
    home = client.get("/label").text
    assert "That was the last one" in home and "<strong>2</strong> of <strong>2</strong>" in home


def test_an_incomplete_answer_is_kept_and_says_what_it_lacks(path):
    client = _client(path)
    _sign_in(path, client)
    place, fields, _ = _open(client)
    del fields["overall_B"]
    sent = client.post(place, data=fields, headers={"accept": "application/json"})
    assert (sent.status_code, sent.json()) == (422, {"missing": ["overall_B"]})
    page = client.post(place, data=fields)
    assert page.status_code == 422 and "1 question still without an answer" in page.text
    again = client.get(place).text
    assert re.search(r'name="overall_A" value="1" data-key="1" checked', again)
    assert not re.search(r'name="overall_B"[^>]* checked', again)


def test_a_form_without_this_sessions_token_or_from_another_site_changes_nothing(path):
    client = _client(path)
    _sign_in(path, client)
    place, fields, _ = _open(client)
    refused = [
        client.post(place, data=fields | {"form_token": ""}),
        client.post(place, data=fields | {"form_token": "0" * 64}),
        client.post(place, data=fields, headers={"origin": "http://evil.example"}),
        client.post(place, data=fields, headers={"sec-fetch-site": "cross-site"}),
        client.post("/label/sign-out", data={}),
    ]
    assert [answer.status_code for answer in refused] == [403] * 5
    with opened(path) as database:
        assert not list(records_of(database))
    own = client.post(place, data=fields, headers={"origin": "http://127.0.0.1:8642"})
    assert own.status_code == 303


def test_signing_out_ends_the_session(path):
    client = _client(path)
    _sign_in(path, client)
    secret = client.cookies[cookie_of(path)]
    _, fields, _ = _open(client)
    client.post("/label/sign-out", data={"form_token": fields["form_token"]})
    client.cookies.set(cookie_of(path), secret)
    assert client.get("/label").status_code == 303


def test_only_this_hosts_names_are_served(path):
    client = _client(path)
    for host, status in (
        ("127.0.0.1:1", 303),
        ("localhost", 303),
        ("[::1]:80", 303),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ):
        assert client.get("/label", headers={"host": host}).status_code == status, host
    assert host_name("[::1") == ""


def test_another_address_needs_to_be_meant():
    assert "127.0.0.1" in check_bind("127.0.0.1", public=False, allowed_hosts=[])
    with pytest.raises(InputError, match="--public"):
        check_bind("192.0.2.7", public=False, allowed_hosts=[])
    with pytest.raises(InputError, match="--allowed_host"):
        check_bind("0.0.0.0", public=True, allowed_hosts=[])
    assert "lab.example" in check_bind("0.0.0.0", public=True, allowed_hosts=["Lab.example"])


def test_hostile_texts_are_shown_as_text_and_no_system_is_named(path):
    client = _client(path)
    _sign_in(path, client, name="<b>anna</b>")
    place, fields, html = _open(client)
    client.post(f"{place}/draft", data=fields | {"notes": "</textarea><script>"})
    for page in (html, client.get(place).text, client.get("/label").text):
        assert "<script>" not in page and "<b>anna" not in page
        assert "sysone" not in page and "systwo" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in html
    assert html.count("&lt;/textarea&gt;") >= 1


def test_pages_load_nothing_from_elsewhere_and_static_files_are_there(path):
    client = _client(path)
    _sign_in(path, client)
    _, _, html = _open(client)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html)
    policy = client.get("/label").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy
    for name in re.findall(r'"(/static/[\w.]+)"', html):
        assert client.get(name).status_code == 200
    assert client.get("/static/../app.py").status_code == 404


def test_a_task_of_somebody_elses_looks_like_none(path):
    one, two = _client(path), _client(path)
    _sign_in(path, one, "anna")
    place, fields, _ = _open(one)
    one.post(place, data=fields)
    _sign_in(path, two, "ben")
    assert two.get(place).status_code == 404
    assert two.get("/label/task/none").status_code == 404
    assert "no such page" in two.get("/nowhere").text
    _, others, _ = _open(two)
    stolen = others | {"view": fields["view"]}
    assert two.post(two.get("/label/next").headers["location"], data=stolen).status_code == 400


@pytest.mark.parametrize("view", ["", "x", "²", "9" * 400, "-1"])
def test_a_form_of_no_view_is_refused(path, view):
    client = _client(path)
    _sign_in(path, client)
    place, fields, _ = _open(client)
    assert client.post(place, data=fields | {"view": view}).status_code == 400


def test_what_is_too_large_is_refused(path):
    client = _client(path)
    _sign_in(path, client)
    place, fields, _ = _open(client)
    assert client.post(place, data=fields | {"notes": "x" * MAX_BODY}).status_code == 413
    many = "&".join(f"f{i}=1" for i in range(1001))
    assert client.post(place, content=many.encode()).status_code == 400
