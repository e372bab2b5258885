"""What an audit is to do, and what the files are called that its workers write."""

import dataclasses
import json
from typing import Any

from instrux.beam.pack import RenderedFile
from instrux.data import audit_pairs
from instrux.data.audit_settings import AuditSettings
from instrux.data.audit_words import MinHash
from instrux.data.rendered_rows import RenderedRows
from instrux.data.sampling import stable_key
from instrux.data.vocabularies import Vocabulary

EXACT, NEAR = "exact_duplicates", "near_duplicates"
OTHER_TARGETS = "same_inputs_other_targets"
MISSING, EMPTY = "missing_choices", "empty_targets"
EXCERPT = 160
"""Characters of a text that a line of a list shows."""


def overlap_list(n: int) -> str:
    """The name of the list of rows that share n-grams with held-out rows."""
    return f"overlap_{n}"


def lists_of(settings: AuditSettings) -> tuple[str, ...]:
    """The names of all lists of rows."""
    return (
        EXACT,
        NEAR,
        OTHER_TARGETS,
        MISSING,
        EMPTY,
        *(overlap_list(n) for n in settings.overlap_sizes),
    )


Line = tuple[tuple[str, int], bytes]
"""A line of a list, with the list and the part of it that it belongs to."""


@dataclasses.dataclass(frozen=True)
class AuditPlan:
    """What an audit is to do. Plain data, and all that a worker gets.

    Attributes:
        settings: what is audited, and how.
        folder: where parts of lists and the report go.
        files: what is read.
        tasks: the rendered tasks' names, by number.
        vocabulary: counts tokens.
        held_out: the file of the held-out n-grams, or "".
        buckets: into how many parts rows are divided to be compared.
        list_parts: into how many parts each list is divided.
    """

    settings: AuditSettings
    folder: str
    files: tuple[RenderedFile, ...]
    tasks: tuple[str, ...]
    vocabulary: Vocabulary
    held_out: str
    buckets: int
    list_parts: int

    @property
    def min_hash(self) -> MinHash:
        """Of near duplicates."""
        seed = stable_key("audit", self.settings.seed)
        return MinHash(self.settings.bands, self.settings.band_rows, seed)

    def task_of(self, ref: int) -> int:
        """The number of the task that a row belongs to."""
        return self.files[audit_pairs.place(ref)[0]].task

    def rows(self) -> RenderedRows:
        """The rows, to be looked up."""
        return RenderedRows([file.path for file in self.files])

    def line(self, name: str, ref: int, found: dict[str, Any]) -> Line:
        """A line of a list, with where it belongs; its first bytes are the row's place."""
        text = json.dumps({"task": self.tasks[self.task_of(ref)], **found}, ensure_ascii=False)
        part = stable_key(ref) % self.list_parts
        return (name, part), f"{ref:016x}\t{text}\n".encode(errors="replace")


def pairs_name(number: int, bucket: int) -> str:
    """The file of the pairs that one pass found for one bucket."""
    return f"pairs.{number:05d}.{bucket:06d}"


def part_name(name: str, number: int, part: int) -> str:
    """The file of one part of a list that one pass found."""
    return f"part.{name}.{number:05d}.{part:05d}"


def report_name(number: int) -> str:
    """The file of what one pass counted."""
    return f"report.{number:05d}.json"
