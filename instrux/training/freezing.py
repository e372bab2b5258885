"""Which parameters are trained, by regular expressions over their names.

A name is the parameter's path with slashes, such as `decoder/layers/attention/query/kernel`;
an expression must match the whole of it. What is not trained gets neither gradient nor optimiser
state, and stays in the checkpoint as it is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instrux.errors import InputError

_SHOWN_NAMES = 5


@dataclass(frozen=True)
class Freezing:
    """A parameter is trained if it matches one of `trainable` and none of `frozen`.

    Attributes:
        trainable: regular expressions; None for every parameter.
        frozen: regular expressions.
    """

    trainable: tuple[str, ...] | None = None
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in (*(self.trainable or ()), *self.frozen):
            try:
                re.compile(pattern)
            except re.error as error:
                raise InputError(
                    f"freezing: {pattern!r} is no regular expression ({error}); a dot stands for any"
                    " character, `.*` for any text."
                ) from error

    @classmethod
    def of(
        cls, trainable: str | Sequence[str] | None = None, frozen: str | Sequence[str] = ()
    ) -> "Freezing":
        """The same from one expression or several, as gin files have them."""
        return cls(None if trainable is None else _several(trainable), _several(frozen))

    def trains(self, name: str) -> bool:
        """Whether the parameter of this name is trained."""
        wanted = self.trainable is None or _matches_one(self.trainable, name)
        return wanted and not _matches_one(self.frozen, name)

    def check(self, params: Mapping[str, Any]) -> None:
        """Checks that every expression matches a parameter, and that one is trained.

        Args:
            params: nested dictionaries, with anything for leaves.

        Raises:
            InputError: an expression matches nothing, or everything is frozen.
        """
        names = parameter_names(params)
        for pattern in (*(self.trainable or ()), *self.frozen):
            if not any(re.fullmatch(pattern, name) for name in names):
                shown = ", ".join(names[:_SHOWN_NAMES])
                raise InputError(
                    f"freezing: {pattern!r} matches no parameter from start to end; names are such as"
                    f" {shown}."
                )
        if not any(map(self.trains, names)):
            raise InputError("freezing: every parameter is frozen; leave one that is trained.")

    def trained(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a tree of parameters (or of what belongs to them) that is trained."""
        return _part(tree, self, ())

    def joined(self, trained: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """The whole tree `params`, with the leaves of `trained` in place of its own."""
        return {
            key: self.joined(trained.get(key, {}), child)
            if isinstance(child, Mapping)
            else trained.get(key, child)
            for key, child in params.items()
        }


TRAIN_ALL = Freezing()
"""Nothing is frozen."""


def parameter_names(tree: Mapping[str, Any]) -> list[str]:
    """The names of all leaves of nested dictionaries, paths with slashes, in their order."""
    names: list[str] = []
    for key, child in tree.items():
        if isinstance(child, Mapping):
            names += [f"{key}/{name}" for name in parameter_names(child)]
        else:
            names.append(str(key))
    return names


def _part(tree: Mapping[str, Any], freezing: Freezing, path: tuple[str, ...]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, child in tree.items():
        below = (*path, str(key))
        if isinstance(child, Mapping):
            if part := _part(child, freezing, below):
                kept[key] = part
        elif freezing.trains("/".join(below)):
            kept[key] = child
    return kept


def _several(patterns: str | Sequence[str]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def _matches_one(patterns: Sequence[str], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)
