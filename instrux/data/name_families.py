"""Families of names: tasks and mixtures that are registered when they are first asked for.

`t0_train_p7_seed3` is one of endlessly many mixtures that a rule defines. A family is such a rule:
a regular expression over names, and a function that adds the task or mixture of one name to SeqIO's
registries. Modules of `tasks/` and `mixtures/` declare families when they are imported; whoever
looks a name up (`lookup.find_name`) gets it registered. SeqIO itself knows a name of a family only
after that.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

AddName = Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class NameFamily:
    """A rule that defines tasks or mixtures by their names.

    Attributes:
        spelling: how its names look, for people, such as `t0_train_p{N}`; known by it.
        pattern: matches the whole of each of its names.
        add: registers the name that was matched, and gives its registered spelling.
    """

    spelling: str
    pattern: re.Pattern[str]
    add: AddName


# Rules, not tasks: SeqIO's registries stay the only list of what there is.
_FAMILIES: dict[str, NameFamily] = {}


def add_name_family(spelling: str, pattern: str, add: AddName) -> None:
    """Declares a family; one of the same spelling is replaced.

    Args:
        spelling: how its names look, for people.
        pattern: a regular expression that matches the whole of each of its names. Where several
            families match a name, the one that was declared first has it.
        add: called with the match; registers that name, if it is not yet, and gives its registered
            spelling. Raises an `InputError` for a name that cannot be (`t0_train_p0`).
    """
    _FAMILIES[spelling] = NameFamily(spelling, re.compile(pattern), add)


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
