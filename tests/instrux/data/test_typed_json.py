"""What is read from JSON has the types that its data class declares, or is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from instrux.data.typed_json import require_types


@dataclass(frozen=True)
class Part:
    size: int


@dataclass(frozen=True)
class Whole:
    name: str
    share: float
    parts: tuple[Part, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    limit: int | None = None
    anything: Any = None
    words: Sequence[str] = ()


def test_what_is_declared_passes():
    require_types(Whole("a", 1, (Part(1),), {"b": 2}, None, object(), ["c"]))
    require_types(Whole("a", 0.5, limit=3))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Whole(1, 0.5), r"Whole\.name is 1, which is no str"),
        (Whole("a", "0.5"), r"Whole\.share is '0\.5', which is no float"),
        (Whole("a", 0.5, (Part("x"),)), r"Part\.size is 'x'"),
        (Whole("a", 0.5, (Part(True),)), r"Part\.size is True"),
        (Whole("a", 0.5, (1,)), r"Whole\.parts is 1, which is no Part"),
        (Whole("a", 0.5, counts={"b": None}), r"Whole\.counts\['b'\] is None"),
        (Whole("a", 0.5, limit="x"), r"Whole\.limit is 'x'"),
        (Whole("a", 0.5, words=[1]), r"Whole\.words is 1"),
    ],
)
def test_anything_else_is_told(value, told):
    with pytest.raises(TypeError, match=told):
        require_types(value)
