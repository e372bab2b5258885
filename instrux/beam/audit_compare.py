"""Rows that may be alike, brought together by hashes and compared by their texts."""

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np

from instrux.beam.audit_plan import (
    EXACT,
    EXCERPT,
    NEAR,
    OTHER_TARGETS,
    AuditPlan,
    Line,
    pairs_name,
)
from instrux.beam.audit_scan import LINES
from instrux.beam.parts import Tagged
from instrux.data import audit_pairs
from instrux.data.audit_overlap import text_of
from instrux.data.audit_words import jaccard, shingle_set
from instrux.data.examples import RenderedExample
from instrux.data.files import as_path
from instrux.data.rendered_rows import RenderedRows

PAIRS, COUNTS = "pairs", "counts"
_KNOWN_SHINGLES = 4096


class FindSameTexts(beam.DoFn):
    """(bucket, blocks) -> lines of lists, counts of (list, later task, earlier task)."""

    def __init__(self, plan: AuditPlan) -> None:
        self._plan = plan

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Tagged]:
        """Compares one bucket."""
        plan = self._plan
        found = audit_pairs.same_texts(audit_pairs.joined(element[1], audit_pairs.TEXT))
        counts: Counter[tuple] = Counter()
        rows = plan.rows()
        for later, earlier in found.repeats.tolist():
            first = rows.read(earlier)
            line = {
                "example_id": rows.read(later).example_id,
                "duplicate_of_task": plan.tasks[plan.task_of(earlier)],
                "duplicate_of": first.example_id,
            }
            counts[EXACT, plan.task_of(later), plan.task_of(earlier)] += 1
            yield LINES, plan.line(EXACT, later, line)
        for ref in found.other_targets.tolist():
            line = {"example_id": rows.read(ref).example_id}
            yield LINES, plan.line(OTHER_TARGETS, ref, line)
        rows.close()
        yield COUNTS, counts


class FindCandidates(beam.DoFn):
    """(bucket, blocks) -> (bucket of the later row, pairs) and counts, each under its tag."""

    def __init__(self, plan: AuditPlan) -> None:
        self._plan = plan

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Tagged]:
        """Pairs the rows of one bucket."""
        bands = audit_pairs.joined(element[1], audit_pairs.BAND)
        found = audit_pairs.candidates(bands, most=self._plan.settings.most_compared)
        every = range(self._plan.buckets)
        for block in audit_pairs.by_bucket(
            found.pairs, found.pairs["later"], self._plan.buckets, every
        ):
            yield PAIRS, block
        yield COUNTS, Counter({("not_compared",): found.not_compared})


@dataclasses.dataclass
class NearDuplicates:
    """What the verified pairs of one later row come to.

    Attributes:
        number: earlier rows that it is nearly the same as.
        likeness: of the likest.
        earlier: the likest; of equals the earliest.
    """

    number: int = 0
    likeness: float = -1.0
    earlier: int = -1

    def add(self, earlier: int, likeness: float) -> None:
        """Counts an earlier row; they come in order."""
        self.number += 1
        if likeness > self.likeness:
            self.likeness, self.earlier = likeness, earlier


class Verify(beam.DoFn):
    """Bucket -> lines of its near duplicates, counts."""

    def __init__(self, plan: AuditPlan, passes: int) -> None:
        self._plan, self._passes = plan, passes

    def process(self, element: int) -> Iterator[Tagged]:
        """Compares the texts of the pairs that all passes found for one bucket."""
        plan = self._plan
        pairs = _read_pairs(plan, element, self._passes)
        counts: Counter[tuple] = Counter({("compared",): len(pairs)})
        rows = plan.rows()
        for later, found in verified(plan, pairs, rows):
            counts[NEAR, plan.task_of(later), plan.task_of(found.earlier)] += 1
            yield LINES, _near_line(plan, rows, later, found)
        rows.close()
        yield COUNTS, counts


def verified(
    plan: AuditPlan, pairs: np.ndarray, rows: RenderedRows
) -> Iterator[tuple[int, NearDuplicates]]:
    """Compares pairs, sorted by the later row, by their texts; gives the later rows that are near."""

    @functools.lru_cache(maxsize=_KNOWN_SHINGLES)
    def read(ref: int) -> tuple[RenderedExample, frozenset[int]]:
        example = rows.read(ref)
        return example, shingle_set(text_of(example), plan.settings.shingle_words)

    for later, group in itertools.groupby(pairs.tolist(), key=lambda pair: pair[0]):
        found = NearDuplicates()
        one, its_shingles = read(later)
        for _, earlier in group:
            other, other_shingles = read(earlier)
            likeness = jaccard(its_shingles, other_shingles)
            if likeness >= plan.settings.likeness and not same_text(one, other):
                found.add(earlier, likeness)
        if found.number:
            yield later, found


def _read_pairs(plan: AuditPlan, bucket: int, passes: int) -> np.ndarray:
    paths = [as_path(plan.folder) / pairs_name(number, bucket) for number in range(passes)]
    blocks = [path.read_bytes() for path in paths if path.exists()]
    return audit_pairs.different(audit_pairs.joined([*blocks, b""], audit_pairs.PAIR))


def _near_line(plan: AuditPlan, rows: RenderedRows, later: int, found: NearDuplicates) -> Line:
    one, other = rows.read(later), rows.read(found.earlier)
    line = {
        "example_id": one.example_id,
        "duplicate_of_task": plan.tasks[plan.task_of(found.earlier)],
        "duplicate_of": other.example_id,
        "likeness": round(found.likeness, 6),
        "near_rows": found.number,
        "inputs": one.inputs[:EXCERPT],
        "inputs_of_other": other.inputs[:EXCERPT],
    }
    return plan.line(NEAR, later, line)


def same_text(one: RenderedExample, other: RenderedExample) -> bool:
    """Whether two examples are exact duplicates."""
    return (one.inputs, one.targets) == (other.inputs, other.targets)
