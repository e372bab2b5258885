"""Beam transforms: pure functions under thin transforms.

Beam is imported here first, quietly: without its Google Cloud clients it warns on the root logger,
and by that sets up logging for the whole program.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _silent_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, disabled = root.handlers[:], root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers


with _silent_root_logger():
    import apache_beam  # noqa: F401
