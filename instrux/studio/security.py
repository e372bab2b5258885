"""What keeps other sites and other machines out.

The application listens on the loopback address, which every page in the same browser can reach
too. So the Host header must name it (else a site whose name was made to point here could read
everything: DNS rebinding), a form must come from our own pages, and pages may load nothing from
elsewhere.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from instrux.errors import InputError

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
MAX_BODY = 512 * 1024

_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
        b" connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


def host_name(header: str) -> str:
    """The name in a Host header, without its port; "" where it is none."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def check_bind(host: str, *, public: bool, allowed_hosts: Collection[str]) -> frozenset[str]:
    """The names that the Host header may give.

    Raises:
        InputError: the address is not the loopback one, and nobody said that it may be; or it is,
            and nobody said under which names it will be asked for.
    """
    named = {name.lower() for name in allowed_hosts}
    if host in LOOPBACK_NAMES:
        return LOOPBACK_NAMES | named
    if not public:
        raise InputError(
            f"--host {host} can be reached from other machines; say --public if that is meant."
        )
    if host in ("0.0.0.0", "::", "") and not named:
        raise InputError(
            f"--host {host} listens under every name; give those that are meant by --allowed_host."
        )
    return LOOPBACK_NAMES | named | {host.lower()}


class Guard:
    """Lets requests through that name this host and come from its own pages."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: Collection[str]):
        self._app = app
        self._allowed = frozenset(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a request, or passes it on; every answer gets the security headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                extra = [pair for pair in _HEADERS if pair[0] not in given]
                if b"cache-control" not in given:
                    extra.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        request = Request(scope)
        refusal = self._refusal(request)
        app = self._app if refusal is None else PlainTextResponse(*refusal)
        await app(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> tuple[str, int] | None:
        host = request.headers.get("host", "")
        if host_name(host) not in self._allowed:
            return f"No such host: {host!r}. Start with --allowed_host to serve it.\n", 421
        if request.method in _SAFE_METHODS:
            return None
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "A form of another site.\n", 403
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "A form of another site.\n", 403
        return None


class TooLargeError(Exception):
    """A request's body is over `MAX_BODY`."""


async def body_of(request: Request) -> bytes:
    """A request's body.

    Raises:
        TooLargeError: it is over `MAX_BODY`.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLargeError
    return bytes(body)
