"""Units of reading, spread over the workers."""

import dataclasses
from collections.abc import Sequence

import apache_beam as beam

from instrux.beam.plan import ReadUnit


@dataclasses.dataclass
class ReadUnits(beam.PTransform):
    """Gives every unit's position in the list, each to whatever worker is free.

    Attributes:
        units: what there is to read.
    """

    units: Sequence[ReadUnit]

    def expand(self, pbegin):
        """Nothing -> positions of units."""
        return (
            pbegin
            | "Positions" >> beam.Create(range(len(self.units)), reshuffle=False)
            | "Spread" >> beam.Reshuffle()
        )
