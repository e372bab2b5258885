"""Who may see the pages: whoever has the token that the command printed, as Jupyter does it.

Every account of a machine can reach its loopback address, so an address alone proves nothing. The
printed link carries a token; the first page turns it into a cookie, and forms carry a second token
made of the first, so that no other page can send them.
"""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from instrux.studio.security import body_of

_WEEK_SECONDS = 7 * 86_400
_MAX_FIELDS = 200


def _token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Access:
    """The secret of one start of the application.

    Attributes:
        token: what the printed link carries.
        open_paths: folders of paths that need no token, as they have a sign-in of their own.
    """

    token: str = field(default_factory=_token, repr=False)
    open_paths: Collection[str] = ("/static", "/label")

    @property
    def cookie(self) -> str:
        """The cookie's name; a host's cookies go to all its ports, so each start needs its own."""
        return f"instrux_studio_{hashlib.sha256(self.token.encode()).hexdigest()[:12]}"

    @property
    def form_token(self) -> str:
        """What forms carry."""
        return hmac.new(self.token.encode(), b"form", "sha256").hexdigest()

    def admits(self, request: Request) -> bool:
        """Whether the request's cookie is right, or its page needs none."""
        return self.opens(request.url.path) or self.knows(request)

    def opens(self, path: str) -> bool:
        """Whether a page needs no token."""
        return any(f"{path}/".startswith(f"{folder}/") for folder in self.open_paths)

    def knows(self, request: Request) -> bool:
        """Whether the request's cookie is right."""
        return _same(request.cookies.get(self.cookie, ""), self.token)


class Gate:
    """Lets requests through that have the token; a link that carries it is turned into a cookie."""

    def __init__(self, app: ASGIApp, *, access: Access):
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it with the cookie or a refusal."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.query_params.get("token")
        app: ASGIApp = self._app
        if given is not None and request.method == "GET" and _same(given, self._access.token):
            app = self._with_cookie(request)
        elif not self._access.admits(request):
            app = PlainTextResponse(
                "Open the link that `instrux studio` printed; it carries a token.\n", 403
            )
        await app(scope, receive, send)

    def _with_cookie(self, request: Request) -> Response:
        rest = [pair for pair in request.query_params.multi_items() if pair[0] != "token"]
        # One slash: `//name` would lead to another host.
        place = "/" + request.url.path.lstrip("/")
        response = RedirectResponse(f"{place}?{urlencode(rest)}" if rest else place, 303)
        response.set_cookie(
            self._access.cookie,
            self._access.token,
            max_age=_WEEK_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response


Fields = dict[str, str]


def posted(
    handle: Callable[[Request, Fields], Response],
) -> Callable[[Request], Awaitable[Response]]:
    """A route that takes a form of ours; one without the form token is answered with 403."""

    async def endpoint(request: Request) -> Response:
        text = (await body_of(request)).decode("utf-8", errors="replace")
        try:
            fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS))
        except ValueError as error:
            raise HTTPException(400, "Not a form.") from error
        if not _same(fields.pop("form_token", ""), request.app.state.access.form_token):
            raise HTTPException(403, "This form is not from here, or from an earlier start.")
        return await run_in_threadpool(handle, request, fields)

    return endpoint


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
