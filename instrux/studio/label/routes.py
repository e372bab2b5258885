"""The label pages' routes.

Each route opens the study, does its work in one transaction and closes it: between two requests
nothing is held in memory that the file does not have, but for who failed to sign in.
"""

import hashlib
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from instrux.studio.app import Subject
from instrux.studio.label import answers, labellers
from instrux.studio.label.attempts import Attempts
from instrux.studio.label.form import TaskFacts, parse, questions, unanswered
from instrux.studio.label.labellers import Labeller
from instrux.studio.label.pages import TaskPage, summary_of
from instrux.studio.label.study import guidelines_of, opened, settings_of
from instrux.studio.pages import page
from instrux.studio.security import body_of

HOME = "/label"
SIGN_IN = "/label/sign-in"
_COOKIE = "instrux_label"


@dataclass(frozen=True)
class Session:
    """Who asks.

    Attributes:
        labeller: who is signed in.
        secret: of the session.
        study: the study's file.
    """

    labeller: Labeller
    secret: str
    study: Path

    @property
    def form_token(self) -> str:
        """What this session's forms carry."""
        return labellers.form_token(self.secret)

    def page(self, request: Request, template: str, status: int = 200, **context) -> Response:
        """A page for somebody who is signed in."""
        shared = {"user": self.labeller, "form_token": self.form_token}
        return page(request, template, shared | context, status=status)


def subject(study: Path) -> Subject:
    """The label pages over one study."""
    return Subject(
        title="Label",
        path=HOME,
        routes=[
            Route(HOME, _signed_in(_home)),
            Route(SIGN_IN, _sign_in, methods=["GET", "POST"]),
            Route("/label/sign-out", _posted(_sign_out), methods=["POST"]),
            Route("/label/guidelines", _signed_in(_guidelines)),
            Route("/label/next", _signed_in(_next)),
            Route("/label/task/{task}", _signed_in(_task), methods=["GET"]),
            Route("/label/task/{task}", _posted(_submit), methods=["POST"]),
            Route("/label/task/{task}/draft", _posted(_draft), methods=["POST"]),
        ],
        state={"label_study": study, "label_attempts": Attempts()},
    )


def cookie_of(study: Path) -> str:
    """The cookie's name: browsers send a host's cookies to all its ports, so studies need theirs."""
    return f"{_COOKIE}_{hashlib.sha256(str(study.resolve()).encode()).hexdigest()[:12]}"


def _session(request: Request) -> Session | None:
    study = request.app.state.label_study
    secret = request.cookies.get(cookie_of(study), "")
    if not secret:
        return None
    with opened(study) as database:
        labeller = labellers.signed_in(database, secret)
    return Session(labeller, secret, study) if labeller else None


def _signed_in(handle: Callable[[Request, Session], Response]):
    """A route for people who are signed in; others are sent to sign in."""

    def endpoint(request: Request) -> Response:
        session = _session(request)
        if session is None:
            return RedirectResponse(SIGN_IN, status_code=303)
        return handle(request, session)

    return endpoint


def _posted(handle: Callable[[Request, Session, dict[str, str]], Response]):
    """A route that takes a form of ours; signed out is 401, a form without our token 403."""

    async def endpoint(request: Request) -> Response:
        fields = await _form(request)
        return await run_in_threadpool(answer, request, fields)

    def answer(request: Request, fields: dict[str, str]) -> Response:
        session = _session(request)
        if session is None:
            raise HTTPException(401, "You are signed out. Sign in again; what you typed is kept.")
        if not _same(fields.pop("form_token", ""), session.form_token):
            raise HTTPException(403, "This form is not from here, or from an earlier session.")
        return handle(request, session, fields)

    return endpoint


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


async def _form(request: Request) -> dict[str, str]:
    body = await body_of(request)
    text = body.decode("utf-8", errors="replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=1000))
    except ValueError as error:
        raise HTTPException(400, "Not a form.") from error


async def _sign_in(request: Request) -> Response:
    if request.method == "GET":
        return _sign_in_page(request)
    fields = await _form(request)
    name, token = fields.get("name", "").strip(), fields.get("token", "")
    attempts: Attempts = request.app.state.label_attempts
    client = request.client.host if request.client else ""
    if (seconds := attempts.wait(client)) > 0:
        return _sign_in_page(request, name=name, wait=math.ceil(seconds))
    secret = await run_in_threadpool(_start_session, request, name, token)
    if secret is None:
        attempts.failed(client)
        return _sign_in_page(request, name=name, wrong=True)
    attempts.succeeded(client)
    response = RedirectResponse(HOME, status_code=303)
    response.set_cookie(
        cookie_of(request.app.state.label_study),
        secret,
        max_age=labellers.SESSION_DAYS * 86_400,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path="/",
    )
    return response


def _sign_in_page(
    request: Request, *, name: str = "", wrong: bool = False, wait: int = 0
) -> Response:
    context = {"name": name, "wrong": wrong, "wait": wait}
    response = page(
        request, "label/sign_in.html", context, status=429 if wait else 403 if wrong else 200
    )
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


def _start_session(request: Request, name: str, token: str) -> str | None:
    with opened(request.app.state.label_study, write=True) as database:
        return labellers.sign_in(database, name=name, token=token)


def _sign_out(request: Request, session: Session, fields: dict[str, str]) -> Response:
    with opened(session.study, write=True) as database:
        labellers.sign_out(database, session.secret)
    response = RedirectResponse(SIGN_IN, status_code=303)
    response.delete_cookie(cookie_of(session.study), path="/")
    return response


def _home(request: Request, session: Session) -> Response:
    with opened(session.study) as database:
        progress = answers.progress_of(database, session.labeller)
        given = summary_of(database, session.labeller)
    return session.page(request, "label/home.html", progress=progress, given=given)


def _guidelines(request: Request, session: Session) -> Response:
    with opened(session.study) as database:
        version, text = guidelines_of(database)
    return session.page(request, "label/guidelines.html", version=version, text=text)


def _next(request: Request, session: Session) -> Response:
    with opened(session.study) as database:
        progress = answers.progress_of(database, session.labeller)
    task = progress.after(request.query_params.get("after", ""))
    return RedirectResponse(f"/label/task/{task}" if task else HOME, status_code=303)


def _facts(database, session: Session, task: str) -> TaskFacts:
    """The task, if it is for this labeller or was once shown to them.

    Raises:
        HTTPException: 404 otherwise; a task of somebody else's looks like none.
    """
    facts = answers.task_of(database, task)
    if facts is None:
        raise HTTPException(404)
    if not answers.has_view(database, task, session.labeller):
        if task not in answers.progress_of(database, session.labeller).tasks:
            raise HTTPException(404)
    return facts


def _task(request: Request, session: Session) -> Response:
    with opened(session.study, write=True) as database:
        facts = _facts(database, session, request.path_params["task"])
        view = answers.open_view(database, facts, session.labeller)
        content = answers.content_for(database, facts.id, session.labeller)
        progress = answers.progress_of(database, session.labeller)
        shown = TaskPage(facts, view, content, settings_of(database), progress)
    return session.page(request, "label/task.html", task=shown, missing=())


def _posted_content(database, session: Session, request: Request, fields: dict[str, str]):
    """Task, view and content of a form that was sent."""
    facts = _facts(database, session, request.path_params["task"])
    number = fields.get("view", "")
    if not number.isascii() or not number.isdigit() or len(number) > 15:
        raise HTTPException(400, "The form does not say which view it is of.")
    view = answers.view_of(database, int(number), facts.id, session.labeller)
    if view is None:
        raise HTTPException(400, "The form is of another view.")
    asked = questions(facts, settings_of(database))
    return facts, view, parse(fields, asked, view.systems), asked


def _draft(request: Request, session: Session, fields: dict[str, str]) -> Response:
    with opened(session.study, write=True) as database:
        facts, _, content, _ = _posted_content(database, session, request, fields)
        answers.save_draft(database, facts.id, session.labeller, content)
    return Response(status_code=204)


def _submit(request: Request, session: Session, fields: dict[str, str]) -> Response:
    """Takes an answer; an incomplete one is kept as a draft, and told what it lacks."""
    with opened(session.study, write=True) as database:
        facts, view, content, asked = _posted_content(database, session, request, fields)
        missing = unanswered(content, asked, view.systems)
        if missing:
            answers.save_draft(database, facts.id, session.labeller, content)
        else:
            answers.submit(database, facts.id, session.labeller, view, content)
        progress = answers.progress_of(database, session.labeller)
        settings = settings_of(database)
    by_script = request.headers.get("accept", "").startswith("application/json")
    if missing:
        names = [question.name for question in missing]
        if by_script:
            return JSONResponse({"missing": names}, status_code=422)
        shown = TaskPage(facts, view, content, settings, progress)
        return session.page(request, "label/task.html", status=422, task=shown, missing=names)
    following = progress.after(facts.id)
    place = f"/label/task/{following}" if following else HOME
    if by_script:
        return JSONResponse({"next": place})
    return RedirectResponse(place, status_code=303)
