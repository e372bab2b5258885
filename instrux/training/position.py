"""Where a run stands beside its arrays, as JSON with a checksum of its own."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from instrux.training.digests import Digest


@dataclass(frozen=True)
class Position:
    """Where a run stands beside its arrays.

    Attributes:
        batches_read: batches of the training data behind it: those of its updates, and those that
            were left out when it was rolled back.
        seconds: time spent training, over all sessions.
        source: what an online data source needs to go on, JSON; empty for a packed set.
        recent_losses: step and loss of the last steps, for telling a loss that is out of line.
        digests: of all arrays, see `digests`; empty in what was written before they were kept.
    """

    batches_read: int
    seconds: float = 0.0
    source: dict[str, Any] = field(default_factory=dict)
    recent_losses: list[list[float]] = field(default_factory=list)
    digests: dict[str, Digest] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """As a dictionary with a checksum."""
        return asdict(self) | {"checksum": _checksum(asdict(self))}

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> "Position":
        """Reads what `to_json` gave, or what was written before there was a checksum.

        Raises:
            ValueError: the content is not what was written.
        """
        fields = dict(content)
        stored = fields.pop("checksum", None)
        if stored is not None and stored != _checksum(fields):
            raise ValueError("the position is not what was saved")
        return cls(**fields)


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
