"""Keeps the informational lines that native libraries print while they load off the screen."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# TensorFlow 2.21 writes these whatever its log level is: `I0000 00:00:… port.cc:153] oneDNN …`.
_INFORMATIONAL = re.compile(
    rb"I\d{4} \d\d:\d\d:|WARNING: All log messages before absl::InitializeLog\(\)"
)


@contextmanager
def informational_lines_dropped() -> Iterator[None]:
    """Holds stderr back, also that of native code, and lets all but informational lines through."""
    sys.stderr.flush()
    real_stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real_stderr, 2)
            os.close(real_stderr)
            held.seek(0)
            for line in held:
                if not _INFORMATIONAL.match(line):
                    os.write(2, line)
