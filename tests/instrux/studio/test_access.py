"""Who may see the studio's pages, and send its forms."""

import re

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from instrux.studio.access import Access, posted
from instrux.studio.app import Subject, create_app
from instrux.studio.pages import page

STYLES = ("/static/icon.svg", "/static/studio.css")


@pytest.fixture
def studio():
    """An application with a page, a form, and a part that has a sign-in of its own."""

    def said(request, fields):
        return PlainTextResponse(fields["what"])

    def shown(request):
        return PlainTextResponse("shown")

    def signed_out(request):
        return page(request, "error.html", {"detail": "Sign in."})

    routes = [
        Route("/things", shown),
        Route("/things", posted(said), methods=["POST"]),
        Route("/label", shown),
        Route("/labels", shown),
        Route("/label/sign-in", signed_out),
    ]
    access = Access()
    parts = [Subject("Things", "/things", routes, {}), Subject("Label", "/label", (), {})]
    app = create_app(parts, access=access)
    return access, TestClient(app, base_url="http://localhost:8642", follow_redirects=False)


def test_the_printed_link_opens_the_pages_and_nothing_else_does(studio):
    access, client = studio
    for place in ("/things", "/", "/labels", "/things?token=wrong", "/things?token=é"):
        refused = client.get(place)
        assert refused.status_code == 403 and access.token not in refused.text
    assert client.get("/label").text == "shown"
    assert client.get("/static/studio.css").status_code == 200
    opened = client.get(f"/things?token={access.token}&q=a+b")
    assert (opened.status_code, opened.headers["location"]) == (303, "/things?q=a+b")
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert client.get("/things").text == "shown"


def test_a_link_with_the_token_cannot_lead_elsewhere(studio):
    access, client = studio
    opened = client.get(f"http://localhost:8642//evil.example/?token={access.token}")
    assert opened.headers["location"].startswith("/evil.example")


def test_forms_need_the_cookie_the_form_token_and_our_own_page(studio):
    access, client = studio
    form = {"what": "done", "form_token": access.form_token}
    assert client.post("/things", data=form).status_code == 403
    client.get(f"/?token={access.token}")
    assert client.post("/things", data=form).text == "done"
    assert client.post("/things", data={"what": "done"}).status_code == 403
    assert client.post("/things", data=form | {"form_token": access.token}).status_code == 403
    elsewhere = {"origin": "http://evil.example"}
    assert client.post("/things", data=form, headers=elsewhere).status_code == 403
    assert client.post("/things", data=form, headers={"host": "evil"}).status_code == 421


def test_a_labeller_is_led_to_nothing_that_they_may_not_see(studio):
    access, client = studio
    shown = client.get("/label/sign-in").text
    assert set(re.findall(r'href="(/[^"]*)"', shown)) == {"/label", *STYLES}
    client.get(f"/?token={access.token}")
    assert 'href="/things"' in client.get("/label/sign-in").text
