"""Bounds on what one rendering may do: what it prints, how long it works, how large its values grow.

Templates come from the public. The bounds are counted in units of work, so that a template which
is too much is too much on every machine and at every retry; a limit on the thread's processor time
stands behind them. No signals are used: rendering may run on any thread of any worker.
"""

import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from jinja2.utils import Namespace

from instrux.prompts.errors import TemplateLimitError

MAX_VALUE = 4 * 2**20
"""Characters that one value inside a template may have, written out."""
MAX_ITEMS = 2**18
"""Items that one list, range or other container may have, those of its items included."""
MAX_SOURCE = 2**18
"""Characters of one template's source."""
_MAX_INT_BITS = 100_000
_UNITS_BETWEEN_CLOCK_CHECKS = 2_000
_SEQUENCES = (list, tuple, set, frozenset, deque, Set)
_SIZED = (str, bytes, Mapping, *_SEQUENCES)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Limits:
    """How much one call of `Template.apply` may do.

    Attributes:
        max_output: characters of the rendered text.
        max_work: units of work; a unit is about the evaluation of one node of the template, or the
            handling of a few dozen characters.
        max_seconds: processor time of the rendering thread.
    """

    max_output: int = 2**20
    max_work: int = 2_000_000
    max_seconds: float = 5.0


DEFAULT_LIMITS = Limits()


class Meter:
    """Counts the work of one rendering and refuses values that are too large."""

    __slots__ = ("_deadline", "_left", "_next_check", "limits")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._left = limits.max_work
        self._next_check = self._left - _UNITS_BETWEEN_CLOCK_CHECKS
        self._deadline: float | None = (
            None  # most renderings end before the first look at the clock
        )

    def spend(self, units: int) -> None:
        """Takes units of work from what is left."""
        self._left -= units
        if self._left < self._next_check:
            self._check()

    def _check(self) -> None:
        if self._left < 0:
            raise TemplateLimitError(
                f"the template does more than {self.limits.max_work:,} units of work;"
                " shorten its loops or raise Limits.max_work"
            )
        now = time.thread_time()
        if self._deadline is None:
            self._deadline = now + self.limits.max_seconds
        elif now > self._deadline:
            raise TemplateLimitError(
                f"the template runs for more than {self.limits.max_seconds:g} s;"
                " simplify it or raise Limits.max_seconds"
            )
        self._next_check = self._left - _UNITS_BETWEEN_CLOCK_CHECKS

    def allow_text(self, length: int) -> None:
        """Refuses a text of more than `MAX_VALUE` characters before it is made."""
        if length > MAX_VALUE:
            raise TemplateLimitError(
                f"the template makes a text of more than {MAX_VALUE:,} characters"
            )
        if length > 1000:
            self.spend(length >> 6)

    def allow_items(self, count: int) -> None:
        """Refuses a container of more than `MAX_ITEMS` items before it is made."""
        if count > MAX_ITEMS:
            raise TemplateLimitError(f"the template makes a list of more than {MAX_ITEMS:,} items")
        self.spend(count >> 3)

    def allow_bits(self, bits: int) -> None:
        """Refuses an integer of more than 100,000 bits before it is made."""
        if bits > _MAX_INT_BITS:
            raise TemplateLimitError(
                f"the template makes an integer of over {_MAX_INT_BITS:,} bits"
            )

    def weigh(self, value: Any) -> int:
        """Charges for handling a value; gives its size in characters, were it written out."""
        kind = type(value)
        if kind is str:
            size = len(value)
        elif kind is int or kind is float or kind is bool or value is None:
            return 8
        else:
            size = self._deep_size(value)
        self.allow_text(size)
        return size

    def _deep_size(self, value: Any) -> int:
        """Characters of a value with all that it holds, counted as often as it would be printed."""
        size, nodes, stack = 0, 0, [value]
        while stack:
            item = stack.pop()
            nodes += 1
            if isinstance(item, (str, bytes)):
                size += len(item) + 4
            elif isinstance(item, Mapping):
                stack.extend(item.keys())
                stack.extend(item.values())
            elif isinstance(item, _SEQUENCES):
                stack.extend(item)
            elif type(item) is Namespace:
                stack.append(object.__getattribute__(item, "_Namespace__attrs"))
            elif isinstance(item, int) and not -(2**63) < item < 2**63:
                size += item.bit_length() // 3
            if size > MAX_VALUE or nodes + len(stack) > MAX_ITEMS:
                break
        self.allow_items(nodes + len(stack))
        self.spend(nodes)
        return size + 8 * nodes

    def made(self, value: Any) -> Any:
        """Checks a value that the template made; gives it back."""
        kind = type(value)
        if kind is str:
            if len(value) > 1000:
                self.allow_text(len(value))
        elif kind is int:
            if not -(2**63) < value < 2**63:
                self.allow_bits(value.bit_length())
        elif isinstance(value, _SIZED):
            self.weigh(value)
        return value

    def listed(self, values: Iterable[Any]) -> Any:
        """Turns an iterator into a list, charging for each item; leaves other values alone."""
        if not isinstance(values, Iterator):
            return values
        items: list[Any] = []
        for item in self.counted(values):
            items.append(item)
            if len(items) > MAX_ITEMS:
                self.allow_items(len(items))
        return items

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yields the values and charges for each."""
        for value in values:
            self.spend(4)
            yield value

    def allow_printf(self, pattern: str, values: Any) -> None:
        """Refuses `pattern % values` where the result may be too large."""
        values = values if isinstance(values, tuple) else (values,)
        largest = max((self.weigh(value) for value in values), default=0)
        widths = sum(map(_clipped, _NUMBER.findall(pattern)))
        if "*" in pattern:
            numbers = [abs(value) for value in values if isinstance(value, int)]
            widths += pattern.count("*") * max(numbers, default=0)
        self.allow_text(len(pattern) + widths + pattern.count("%") * largest)

    def allow_widths(self, spec: str) -> None:
        """Refuses a format specification whose widths are too large."""
        self.allow_text(sum(map(_clipped, _NUMBER.findall(spec))))


def _clipped(digits: str) -> int:
    """The number in `digits`, without the work of reading a very long one."""
    return int(digits) if len(digits) < 12 else 10**12
