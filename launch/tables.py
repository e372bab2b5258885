"""Tables on a terminal, and lines of columns with tabs between them elsewhere."""

import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH = 100
_LEFT = frozenset(
    {"what", "list", "side", "dataset", "licence", "task", "task type", "in", "state", "template"}
)


class Tables:
    """Writes to stdout; columns of numbers are to the right."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        self._console = Console(highlight=False, soft_wrap=True) if terminal else None

    def line(self, text: str = "") -> None:
        """Writes a line."""
        if self._console is None:
            print(text)
        else:
            self._console.print(text, markup=False)

    def table(self, title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Writes a table under a title."""
        self.line()
        self.line(title)
        if self._console is None:
            for row in (headings, *rows):
                print("\t".join(row))
            return
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
        for heading in headings:
            right = heading not in _LEFT
            table.add_column(
                heading,
                justify="right" if right else "left",
                no_wrap=right,
                overflow="fold",
                max_width=16 if heading == "licence" else None,
            )
        for row in rows:
            table.add_row(*map(Text, row))
        self._console.print(table, width=min(self._console.width, _WIDTH), soft_wrap=False)
