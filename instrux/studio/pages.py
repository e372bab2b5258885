"""Pages from templates; all text is escaped unless a template says otherwise, and none does."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _reachable(request: Request) -> list[Any]:
    """The subjects that whoever asks may see: a labeller, who has no token, sees those without."""
    access = request.app.state.access
    subjects = request.app.state.subjects
    if access is None or access.knows(request):
        return subjects
    return [each for each in subjects if access.opens(each.path)]


def page(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Renders a template, which extends `base.html`.

    Args:
        request: what is answered; its path says which subject is the present one.
        template: path under `templates/`.
        context: what the template needs.
        status: of the response.
        headers: of the response.
    """
    access = request.app.state.access
    subjects = _reachable(request)
    shared = {
        "subjects": subjects,
        "home": subjects[0].path if subjects else "/",
        "path": request.url.path,
        "user": None,
        "form_token": access.form_token if access else "",
    }
    html = _environment().get_template(template).render(shared | dict(context))
    return HTMLResponse(html, status_code=status, headers=headers)
