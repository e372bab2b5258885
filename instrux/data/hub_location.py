"""Where a dataset lies today, and how its rows become those that its templates were written for.

Public datasets are moved and reshaped: an owner's name is put before theirs, fields are renamed,
labels renumbered. What is known of that is declared here as plain data, and applied when rows are
read, from a mirror as well as from the hub.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from instrux.data.sources_base import BadRowHandler, Row
from instrux.errors import InputError


@dataclass(frozen=True)
class FieldChange:
    """A field that has another name today, and perhaps other values.

    A row without the present name, or with the wanted one already, is left as it is: a mirror may
    hold the rows of either day.

    Attributes:
        present: the field's name today.
        wanted: its name in the rows that templates were written for.
        values: pairs of a value today and the value wanted; () keeps values as they are.
    """

    present: str
    wanted: str
    values: tuple[tuple[Any, Any], ...] = ()

    def value(self, value: Any) -> Any:
        """Gives the wanted value for a present one.

        Raises:
            InputError: the mapping does not know it.
        """
        if not self.values:
            return value
        try:
            return self._known[value]
        except (KeyError, TypeError):
            raise InputError(
                f"field {self.present!r} is {value!r}, which is none of the "
                f"{len(self.values)} values that are mapped to {self.wanted!r}"
            ) from None

    @cached_property
    def _known(self) -> dict[Any, Any]:
        return dict(self.values)


@dataclass(frozen=True)
class ManualFiles:
    """Files that a person must fetch, as after filling in a form.

    Attributes:
        how: what to do, ending without a full stop.
        names: pairs of a file's official name and the split that it holds.
    """

    how: str
    names: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class HubLocation:
    """Where a dataset lies on the Hugging Face hub today.

    Attributes:
        repository: its present name there, `owner/name`.
        config: its present configuration; None is the only one.
        revision: the commit, tag or branch that is read; None is the newest.
        conversion: whether the hub's own Parquet conversion is read, for repositories that hold a
            loading script only. It is kept on the branch `refs/convert/parquet`, which is read
            without a revision; with one, it is a commit of that branch.
        changes: fields that have another name or other values today.
        manual: files that must be had by hand, where the hub has no rows.
    """

    repository: str
    config: str | None = None
    revision: str | None = None
    conversion: bool = False
    changes: tuple[FieldChange, ...] = ()
    manual: ManualFiles | None = None


def changed_rows(
    rows: Iterable[tuple[int, Row]],
    changes: tuple[FieldChange, ...],
    on_bad_row: BadRowHandler | None,
    where: Callable[[int], str],
) -> Iterator[tuple[int, Row]]:
    """Gives rows with the fields that templates want.

    Args:
        rows: (number, row) as read.
        changes: what to change in each.
        on_bad_row: called for a row with a value that no mapping knows, which is left out;
            without it the error is raised.
        where: words a row's place, for the message.

    Raises:
        InputError: a value is none that a mapping knows, and there is no `on_bad_row`.
    """
    for number, row in rows:
        try:
            yield number, changed_row(row, changes)
        except InputError as problem:
            error = InputError(f"{where(number)}: {problem}.")
            if on_bad_row is None:
                raise error from None
            on_bad_row(number, error)


def changed_row(row: Row, changes: Iterable[FieldChange]) -> Row:
    """Gives one row with the fields that templates want; the row itself if none is to change."""
    applying = {each.present: each for each in changes if _applies(each, row)}
    if not applying:
        return row
    return {
        (applying[name].wanted if name in applying else name): (
            applying[name].value(value) if name in applying else value
        )
        for name, value in row.items()
    }


def changed_names(names: Iterable[str], changes: Iterable[FieldChange]) -> tuple[str, ...]:
    """Gives the names of columns as `changed_row` leaves them."""
    known = list(names)
    renamed = {each.present: each.wanted for each in changes if _applies(each, known)}
    return tuple(renamed.get(name, name) for name in known)


def changes_digest(changes: tuple[FieldChange, ...]) -> str:
    """Gives text that is equal for equal changes."""
    plain = [(each.present, each.wanted, each.values) for each in changes]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]


def _applies(change: FieldChange, names: Iterable[str]) -> bool:
    return change.present in names and change.wanted not in names
