"""What happened to the rows of one job, added up over the workers."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable


@dataclasses.dataclass
class RowReport:
    """Counts of one job over some of its rows.

    Attributes:
        rows: rows read, bad ones too.
        examples: examples made.
        dropped: reason -> rows that the template leaves out on purpose.
        failed: reason -> rows that went to the dead letters.
        missing_fields: name in the template -> rows without it (they render as nothing there).
        row_fields: the fields of the first row seen.
        first_failure: the dead letter of the first row that failed, or "".
    """

    rows: int = 0
    examples: int = 0
    dropped: Counter[str] = dataclasses.field(default_factory=Counter)
    failed: Counter[str] = dataclasses.field(default_factory=Counter)
    missing_fields: Counter[str] = dataclasses.field(default_factory=Counter)
    row_fields: tuple[str, ...] = ()
    first_failure: str = ""

    def to_bytes(self) -> bytes:
        """As one element."""
        return json.dumps(vars(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "RowReport":
        """From one element."""
        value = json.loads(data)
        for name in ("dropped", "failed", "missing_fields"):
            value[name] = Counter(value[name])
        return cls(**{**value, "row_fields": tuple(value["row_fields"])})


def add_up(reports: Iterable[RowReport]) -> RowReport:
    """One report over all."""
    total = RowReport()
    for report in reports:
        total.rows += report.rows
        total.examples += report.examples
        total.dropped += report.dropped
        total.failed += report.failed
        total.missing_fields += report.missing_fields
        total.row_fields = total.row_fields or report.row_fields
        total.first_failure = min(
            filter(None, (total.first_failure, report.first_failure)), default=""
        )
    return total
