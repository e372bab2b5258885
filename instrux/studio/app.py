"""The web application: what its subjects share.

A subject (templates, mixtures, runs, evaluations, labelling) brings its routes; the application brings the look, the
security, static files and pages for errors. Subjects are listed at the top of every page.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from instrux.errors import InputError
from instrux.studio.access import Access, Gate
from instrux.studio.pages import page
from instrux.studio.security import LOOPBACK_NAMES, Guard, TooLargeError


@dataclass(frozen=True)
class Subject:
    """One part of the application.

    Attributes:
        title: in the line at the top.
        path: where it starts, such as `/label`.
        routes: all its routes, with their whole paths.
        state: what its routes find as `request.app.state.<name>`.
    """

    title: str
    path: str
    routes: Sequence[BaseRoute]
    state: dict[str, Any]


def create_app(
    subjects: Sequence[Subject],
    *,
    allowed_hosts: Collection[str] = LOOPBACK_NAMES,
    access: Access | None = None,
) -> Starlette:
    """Makes the application.

    Args:
        subjects: its parts; `/` leads to the first.
        allowed_hosts: names that the Host header may give.
        access: who may see the pages; None leaves that to the subjects.
    """
    middleware = [Middleware(Guard, allowed_hosts=allowed_hosts)]
    if access is not None:
        middleware.append(Middleware(Gate, access=access))

    async def home(request: Request) -> Response:
        return RedirectResponse(subjects[0].path, status_code=303)

    static = StaticFiles(directory=Path(__file__).parent / "static")
    app = Starlette(
        routes=[
            Route("/", home),
            Mount("/static", static, name="static"),
            *(route for subject in subjects for route in subject.routes),
        ],
        middleware=middleware,
        exception_handlers={
            HTTPException: _http_error,
            InputError: _input_error,
            TooLargeError: _too_large,
        },
    )
    app.state.subjects = tuple(subjects)
    app.state.access = access
    for subject in subjects:
        for name, value in subject.state.items():
            setattr(app.state, name, value)
    return app


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = {404: "There is no such page.", 405: "This page takes no such request."}
    told = error.detail != HTTPStatus(error.status_code).phrase
    detail = error.detail if told else what.get(error.status_code, error.detail)
    return page(
        request, "error.html", {"detail": detail}, status=error.status_code, headers=error.headers
    )


async def _input_error(request: Request, error: Exception) -> Response:
    return page(request, "error.html", {"detail": str(error)}, status=400)


async def _too_large(request: Request, error: Exception) -> Response:
    return PlainTextResponse("More than this page can send.\n", status_code=413)
