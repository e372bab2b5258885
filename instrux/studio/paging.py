"""Pages of long lists: numbers from addresses, and links to what is before and after."""

from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request


@dataclass(frozen=True)
class Paging:
    """Which part of a list a page shows.

    Attributes:
        number: the page, from 1.
        size: entries of a page.
        total: entries in all.
        path: the page's address without its page number; another can be put behind.
    """

    number: int
    size: int
    total: int
    path: str

    @property
    def pages(self) -> int:
        """Number of pages, at least one."""
        return max(1, -(-self.total // self.size))

    @property
    def start(self) -> int:
        """The first entry, from 0."""
        return (self.number - 1) * self.size

    @property
    def stop(self) -> int:
        """One behind the last entry."""
        return min(self.start + self.size, self.total)

    def link(self, number: int) -> str:
        """The address of a page."""
        return f"{self.path}page={number}"


def paging(request: Request, total: int, size: int) -> Paging:
    """The page that a request asks for by `?page=`; the nearest where there is no such page."""
    rest = [pair for pair in request.query_params.multi_items() if pair[0] != "page"]
    path = f"{request.url.path}?{urlencode(rest)}{'&' if rest else ''}"
    last = max(1, -(-total // size))
    return Paging(min(whole_number(request, "page", 1), last), size, total, path)


def whole_number(request: Request, name: str, least: int) -> int:
    """A parameter of an address as a number; the least where it is none, or lower."""
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        return least
    return max(int(text), least)


def choice(request: Request, name: str, known: dict[str, str]) -> str:
    """A parameter of an address that must be one of some; the first of them where it is none."""
    given = request.query_params.get(name, "")
    return given if given in known else next(iter(known))
