"""Several kinds of elements in one collection, told apart by a tag.

Beam has outputs for that, but DaskRunner (2.77) mixes them up. It also computes the last step alone
and what leads to it, so that whatever a job writes must flow into one end.
"""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam

Tagged = tuple[str, Any]


def part(pcoll: Any, tag: str, label: str) -> Any:
    """The elements of `pcoll`, pairs of a tag and a value, that have a tag: their values."""
    return pcoll | label >> beam.FlatMap(_tagged, tag)


def _tagged(element: Tagged, tag: str) -> Iterator[Any]:
    if element[0] == tag:
        yield element[1]
