"""Errors that a user can mend.

The command line shows an `InputError` as one line on stderr and exits with status 2; any other
exception is a fault of ours, shown with its traceback, exit status 1.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something that the user gave is wrong: a file, a row, a template, a name or a binding.

    The message is one line that names the thing and says how to mend it. Subclass it where a
    caller needs to tell one kind of mistake from another.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Gives ` Did you mean 'a' or 'b'?` for the known names near `name`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=3)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
