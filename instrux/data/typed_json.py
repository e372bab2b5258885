"""Data classes that were read from JSON, held against the types that they declare."""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any


def require_types(value: Any) -> None:
    """Checks the fields of a data class, and of data classes within.

    Fields may be of `str`, `int`, `float` (an int will do), `bool`, of several of them or None, and
    mappings, tuples and sequences of them. What is `Any` may be anything.

    Raises:
        TypeError: a field has another type; names it.
    """
    for name, hint in _hints(type(value)).items():
        _require(getattr(value, name), hint, f"{type(value).__name__}.{name}")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _require(value: Any, hint: Any, where: str) -> None:
    if hint is Any:
        return
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        for each in of:
            try:
                return _require(value, each, where)
            except TypeError:
                continue
        raise TypeError(f"{where} is {value!r:.60}")
    kind = origin or hint
    if kind is float and type(value) is int:
        return
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{where} is {value!r:.60}, which is no {kind.__name__}")
    if dataclasses.is_dataclass(kind):
        require_types(value)
    elif of and issubclass(kind, Mapping):
        for key, item in value.items():
            _require(key, of[0], where)
            _require(item, of[1], f"{where}[{key!r:.60}]")
    elif of and issubclass(kind, Sequence):
        for item in value:
            _require(item, of[0], where)
