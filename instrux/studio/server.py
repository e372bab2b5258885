"""Starts the application."""

import socket
import sys
from contextlib import closing

import uvicorn
from starlette.applications import Starlette

from instrux.errors import InputError


def serve(app: Starlette, *, host: str, port: int, path: str = "") -> None:
    """Serves until it is interrupted; the address goes to stdout once it can be asked.

    Args:
        app: the application.
        host: the address to listen on.
        port: the port; 0 for a free one.
        path: of the page to open, behind the address.

    Raises:
        InputError: the address cannot be listened on.
    """
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    with closing(listening):
        print(f"http://{shown}:{listening.getsockname()[1]}/{path}", flush=True)
        print("Ctrl-C stops it; what was answered is kept.", file=sys.stderr)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=3,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen on {host}, port {port} ({error}); give another --port."
        ) from error
    return listening
