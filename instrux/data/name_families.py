"""Families of names: tasks and mixtures that are registered when they are first asked for.

`t0_train_p7_seed3` is one of endlessly many mixtures that a rule defines. A family is such a rule:
a regular expression over names, and a function that adds the task or mixture of one name to SeqIO's
registries. Modules of `tasks/` and `mixtures/` declare families when they are imported; whoever
looks a name up (`lookup.find_name`) gets it registered. SeqIO itself knows a name of a family only
after that.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

AddName = Callable[[re.Match[str]], str]
Kind = Literal["tasks", "mixtures"]


@dataclass(frozen=True)
class NameFamily:
    """A rule that defines tasks or mixtures by their names.

    Attributes:
        spelling: how its names look, for people, such as `t0_train_p{N}`; known by it.
        pattern: matches the whole of each of its names.
        add: registers the name that was matched, and gives its registered spelling.
        kind: what its names are of; None for both.
        names: gives the names that are listed: all, where there are not too many, else the usual ones.
    """

    spelling: str
    pattern: re.Pattern[str]
    add: AddName
    kind: Kind | None
    names: Callable[[], Iterable[str]]

    def is_of(self, kind: Kind) -> bool:
        """Whether it defines names of tasks, or of mixtures."""
        return self.kind in (kind, None)


# Rules, not tasks: SeqIO's registries stay the only list of what there is.
_FAMILIES: dict[str, NameFamily] = {}


def add_name_family(
    spelling: str,
    pattern: str,
    add: AddName,
    *,
    kind: Kind | None = "mixtures",
    names: Callable[[], Iterable[str]] | None = None,
) -> None:
    """Declares a family; one of the same spelling is replaced.

    Args:
        spelling: how its names look, for people.
        pattern: a regular expression that matches the whole of each of its names. Where several
            families match a name, the one that was declared first has it.
        add: called with the match; registers that name, if it is not yet, and gives its registered
            spelling. Raises an `InputError` for a name that cannot be (`t0_train_p0`).
        kind: what its names are of; None for both.
        names: gives the names that lists show; None for those that `spelled` makes of the spelling.
    """
    listed = names or (lambda: spelled(spelling))
    _FAMILIES[spelling] = NameFamily(spelling, re.compile(pattern), add, kind, listed)


_PART = re.compile(r"\{(?P<choice>[^{}]*)\}|\[(?P<optional>[^\[\]]*)\]|(?P<plain>[^{}\[\]]+)")


def spelled(spelling: str, values: Mapping[str, Iterable[object]] | None = None) -> Iterator[str]:
    """Gives the names that a spelling stands for.

    Args:
        spelling: `{1..4}` stands for the numbers from 1 to 4, `{train,eval}` for either word, `{n}`
            for what `values` has under `n`, and `[_seed7]` for itself or nothing.
        values: of the words in braces. Where one has none, the spelling stands for endlessly many
            names, and none is given; optional parts may hold one all the same.
    """
    choices = []
    for part in _PART.finditer(spelling):
        if part["optional"] is not None:
            choices.append(["", *spelled(part["optional"], values)])
        elif part["choice"] is not None:
            choices.append(list(_choices(part["choice"], values or {})))
        else:
            choices.append([part["plain"]])
    return map("".join, itertools.product(*choices))


def _choices(inside: str, values: Mapping[str, Iterable[object]]) -> Iterator[str]:
    if bounds := re.fullmatch(r"(\d+)\.\.(\d+)", inside):
        yield from map(str, range(int(bounds[1]), int(bounds[2]) + 1))
    elif "," in inside:
        yield from inside.split(",")
    else:
        yield from map(str, values.get(inside, ()))


def listed_names(kind: Kind) -> set[str]:
    """Gives the names that families list of tasks or of mixtures; most are not registered yet."""
    return {name for family in name_families() if family.is_of(kind) for name in family.names()}


def name_families() -> tuple[NameFamily, ...]:
    """Gives the families in the order of their declaration."""
    return tuple(_FAMILIES.values())


def register_from_family(name: str) -> str | None:
    """Registers a name by the family that defines it, and gives its registered spelling.

    Raises:
        InputError: a family matches the name, and says that it cannot be.
    """
    for family in name_families():
        if match := family.pattern.fullmatch(name):
            return family.add(match)
    return None
