"""Rendered examples to the lists and the counts of an audit.

One scan, then rows that look alike are brought together by a hash of what is compared. All that is
counted are sums. Every file that is written is named in the pass's report, its one end.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from instrux.beam.audit_compare import COUNTS, PAIRS, FindCandidates, FindSameTexts, Verify
from instrux.beam.audit_plan import AuditPlan, pairs_name, part_name, report_name
from instrux.beam.audit_scan import BANDS, LINES, STATS, TEXTS, TOUCHED, ScanFile
from instrux.beam.parts import part
from instrux.data import audit_pairs, audit_stats
from instrux.data.audit_stats import TaskStats
from instrux.data.files import as_path, write_atomically
from instrux.errors import InputError

_SECTIONS = ("stats", "counts", "touched", "written")
Section = tuple[int, tuple[str, Any]]
"""A piece of the report under the one key that gathers it: (0, (section, content))."""


@dataclasses.dataclass
class AuditedFiles(beam.PTransform):
    """One pass over the files: writes the parts of lists that it finds, and what it counts.

    Attributes:
        plan: what to do.
        number: the pass's.
        buckets: the buckets that are compared in it.
        progress_folder: a folder on this machine where workers note their progress, or "".
    """

    plan: AuditPlan
    number: int
    buckets: range
    progress_folder: str = ""

    def expand(self, pipeline):
        """Start of a pipeline -> path of the report."""
        plan = self.plan
        scan = ScanFile(plan, self.buckets, self.progress_folder, first=self.number == 0)
        scanned = (
            pipeline
            | "Files" >> beam.Create(range(len(plan.files)))
            | "Spread" >> beam.Reshuffle()
            | "Scan" >> beam.ParDo(scan)
        )
        same = (
            part(scanned, TEXTS, "Texts")
            | "GatherTexts" >> beam.GroupByKey()
            | "SameTexts" >> beam.ParDo(FindSameTexts(plan))
        )
        paired = (
            part(scanned, BANDS, "Bands")
            | "GatherBands" >> beam.GroupByKey()
            | "Candidates" >> beam.ParDo(FindCandidates(plan))
        )
        pairs = (
            part(paired, PAIRS, "Pairs")
            | "GatherPairs" >> beam.GroupByKey()
            | "WritePairs" >> beam.ParDo(_WritePairs(plan, self.number))
        )
        lines = (
            (part(scanned, LINES, "Lines"), part(same, LINES, "LinesOfSame"))
            | "AllLines" >> beam.Flatten()
            | "WrittenLines" >> WrittenLines(plan, self.number)
        )
        counts = (
            (part(same, COUNTS, "CountsOfSame"), part(paired, COUNTS, "CountsOfPairs"))
            | "AllCounts" >> beam.Flatten()
            | "SummedCounts" >> SummedCounts()
        )
        stats = (
            part(scanned, STATS, "Stats")
            | "SumStats" >> beam.CombinePerKey(_SumStats())
            | "StatsToReport" >> beam.Map(_stats_to_report)
        )
        touched = (
            part(scanned, TOUCHED, "Touched")
            | "SumTouched" >> beam.CombinePerKey(_union)
            | "TouchedToReport" >> beam.Map(_touched_to_report)
        )
        return (
            (counts, stats, touched, pairs, lines)
            | "AllOfReport" >> beam.Flatten()
            | "Report" >> WrittenReport(plan, self.number)
        )


@dataclasses.dataclass
class NearDuplicateLines(beam.PTransform):
    """Compares the rows that the passes paired, and writes the list of near duplicates.

    Attributes:
        plan: what to do.
        passes: how many there were; this one's own number, too.
    """

    plan: AuditPlan
    passes: int

    def expand(self, pipeline):
        """Start of a pipeline -> path of the report."""
        found = (
            pipeline
            | "Buckets" >> beam.Create(range(self.plan.buckets))
            | "Spread" >> beam.Reshuffle()
            | "Verify" >> beam.ParDo(Verify(self.plan, self.passes))
        )
        lines = part(found, LINES, "Lines") | "WrittenLines" >> WrittenLines(self.plan, self.passes)
        counts = part(found, COUNTS, "Counts") | "SummedCounts" >> SummedCounts()
        return (
            (lines, counts)
            | "AllOfReport" >> beam.Flatten()
            | "Report" >> WrittenReport(self.plan, self.passes)
        )


@dataclasses.dataclass
class WrittenLines(beam.PTransform):
    """((list, part), line) -> sections of the report; writes the parts of lists.

    Attributes:
        plan: what to do.
        number: the pass's.
    """

    plan: AuditPlan
    number: int

    def expand(self, pcoll):
        """Lines -> the names of the files written."""
        return (
            pcoll
            | "GatherLines" >> beam.GroupByKey()
            | "WriteLines" >> beam.ParDo(_WriteLines(self.plan, self.number))
        )


@dataclasses.dataclass
class SummedCounts(beam.PTransform):
    """Counts of anything -> a section of the report with their sums."""

    def expand(self, pcoll):
        """Counters -> one section."""
        return (
            pcoll
            | "UnderOneKey" >> beam.Map(_under_one_key)
            | "SumCounts" >> beam.CombinePerKey(_add_counts)
            | "CountsToReport" >> beam.Map(_counts_to_report)
        )


@dataclasses.dataclass
class WrittenReport(beam.PTransform):
    """Sections -> path of the report, once it is there and all that it names.

    Attributes:
        plan: what to do.
        number: the pass's.
    """

    plan: AuditPlan
    number: int

    def expand(self, pcoll):
        """Sections -> path."""
        return (
            pcoll
            | "GatherReport" >> beam.GroupByKey()
            | "WriteReport" >> beam.ParDo(_WriteReport(self.plan, self.number))
        )


class _SumStats(beam.CombineFn):
    """Adds up what files counted of a task."""

    def create_accumulator(self, *_: Any, **__: Any) -> TaskStats:
        return TaskStats()

    def add_input(self, mutable_accumulator: Any, element: TaskStats, *_: Any, **__: Any) -> Any:
        return mutable_accumulator.add(element)

    def merge_accumulators(self, accumulators: Iterable[TaskStats], *_: Any, **__: Any) -> Any:
        return audit_stats.pooled(accumulators)

    def extract_output(self, accumulator: TaskStats, *_: Any, **__: Any) -> TaskStats:
        return accumulator


def _add_counts(several: Iterable[Counter[tuple]]) -> Counter[tuple]:
    total: Counter[tuple] = Counter()
    for each in several:
        total.update(each)
    return total


def _union(several: Iterable[frozenset[int]]) -> frozenset[int]:
    return frozenset().union(*several)


def _under_one_key(counts: Counter[tuple]) -> tuple[int, Counter[tuple]]:
    return 0, counts


def _counts_to_report(item: tuple[int, Counter[tuple]]) -> Section:
    return 0, ("counts", [[list(key), count] for key, count in item[1].items()])


def _stats_to_report(item: tuple[int, TaskStats]) -> Section:
    return 0, ("stats", [item[0], audit_stats.to_json(item[1])])


def _touched_to_report(item: tuple[int, frozenset[int]]) -> Section:
    return 0, ("touched", [item[0], sorted(item[1])])


class _WriteLines(beam.DoFn):
    """((list, part), lines) -> the file's name; the lines lie in it, in order."""

    def __init__(self, plan: AuditPlan, number: int) -> None:
        self._plan, self._number = plan, number

    def process(self, element: tuple[tuple[str, int], Iterable[bytes]]) -> Iterator[Section]:
        """Writes one part of a list."""
        (name, number), lines = element
        yield _written(self._plan, part_name(name, self._number, number), sorted(lines))


class _WritePairs(beam.DoFn):
    """(bucket of the later row, pairs) -> the file's name; the pairs lie in it, each once."""

    def __init__(self, plan: AuditPlan, number: int) -> None:
        self._plan, self._number = plan, number

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Section]:
        """Writes one file."""
        bucket, blocks = element
        pairs = audit_pairs.different(audit_pairs.joined(blocks, audit_pairs.PAIR))
        yield _written(self._plan, pairs_name(self._number, bucket), [pairs.tobytes()])


class _WriteReport(beam.DoFn):
    """(0, (section, content)) -> path; what was counted lies in the file."""

    def __init__(self, plan: AuditPlan, number: int) -> None:
        self._plan, self._number = plan, number

    def process(self, element: tuple[int, Iterable[tuple[str, Any]]]) -> Iterator[str]:
        """Writes the report of a pass."""
        report: dict[str, list[Any]] = {section: [] for section in _SECTIONS}
        for section, content in element[1]:
            report[section].append(content)
        name = report_name(self._number)
        _written(self._plan, name, [json.dumps(report).encode()])
        yield name


def _written(plan: AuditPlan, name: str, chunks: Iterable[bytes]) -> Section:
    path = as_path(plan.folder) / name
    try:
        write_atomically(path, chunks)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    return 0, ("written", name)
