"""Rendered examples to what an audit finds: one scan, then rows that look alike brought together.

Rows travel as flat blocks of hashes, gathered by a hash of what is compared; texts are read again
where two rows fall together. Nothing holds all rows, and all that is counted are sums.
"""

import dataclasses
import functools
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam import pvalue

from instrux.beam.pack import RenderedFile
from instrux.beam.rows_done import RowsDone
from instrux.data import audit_pairs, audit_stats
from instrux.data.audit_overlap import HeldOutIndex, overlaps, text_of
from instrux.data.audit_settings import AuditSettings
from instrux.data.audit_stats import TaskStats
from instrux.data.audit_words import MinHash, WordBatch, jaccard, shingle_set, shingles, text_hash
from instrux.data.examples import RenderedExample
from instrux.data.files import as_path, write_atomically
from instrux.data.rendered_rows import RenderedRows
from instrux.data.sampling import stable_key
from instrux.data.tfrecord import read_placed_records
from instrux.data.vocabularies import Vocabulary
from instrux.errors import InputError

_EXAMPLES_AT_ONCE = 2048
_KNOWN_SHINGLES = 4096
_EXCERPT = 160

EXACT, NEAR = "exact_duplicates", "near_duplicates"
OTHER_TARGETS = "same_inputs_other_targets"
MISSING, EMPTY = "missing_choices", "empty_targets"


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

    def line(self, name: str, ref: int, found: dict[str, Any]) -> tuple[tuple[str, int], bytes]:
        """A line of a list, with where it belongs; its first bytes are the row's place."""
        text = json.dumps({"task": self.tasks[self.task_of(ref)], **found}, ensure_ascii=False)
        part = stable_key(ref) % self.list_parts
        return (name, part), f"{ref:016x}\t{text}\n".encode(errors="replace")


@functools.lru_cache(maxsize=1)
def _held_out(path: str) -> HeldOutIndex:
    return HeldOutIndex.read(path)


# --- Scanning ----------------------------------------------------------------------------------


@dataclasses.dataclass
class FileScan:
    """What some rows of a file give.

    Attributes:
        rows: how many there are.
        stats: what is counted.
        lines: lines of lists.
        texts: `audit_pairs.TEXT` blocks by bucket.
        bands: `audit_pairs.BAND` blocks by bucket.
        touched: n -> numbers of held-out rows that share an n-gram.
    """

    rows: int = 0
    stats: TaskStats = dataclasses.field(default_factory=TaskStats)
    lines: list[tuple[tuple[str, int], bytes]] = dataclasses.field(default_factory=list)
    texts: list[tuple[int, bytes]] = dataclasses.field(default_factory=list)
    bands: list[tuple[int, bytes]] = dataclasses.field(default_factory=list)
    touched: dict[int, set[int]] = dataclasses.field(default_factory=dict)


def scan_file(plan: AuditPlan, number: int, buckets: range, *, first: bool) -> Iterator[FileScan]:
    """Reads one file, some thousand examples at a time.

    Args:
        plan: what to do.
        number: the file's.
        buckets: the buckets to give blocks of.
        first: whether to count, too, and to list what one row alone tells.

    Yields:
        One for each batch; only the last has `stats`, of the whole file.
    """
    file = plan.files[number]
    records = read_placed_records(file.path)
    stats = TaskStats()
    while chunk := list(islice(records, _EXAMPLES_AT_ONCE)):
        examples = [RenderedExample.from_bytes(record) for _, record in chunk]
        refs = audit_pairs.reference(number, np.array([offset for offset, _ in chunk], np.uint64))
        scan = FileScan(rows=len(chunk))
        scan.texts = list(_text_blocks(plan, examples, refs, buckets))
        if plan.settings.near_duplicates:
            scan.bands = list(_band_blocks(plan, examples, refs, buckets))
        if first:
            _count(plan, stats, examples)
            scan.lines += _odd_targets(plan, examples, refs)
            _find_overlap(plan, scan, stats, examples, refs)
        yield scan
    stats.prune()
    yield FileScan(stats=stats)


def _text_blocks(
    plan: AuditPlan, examples: Sequence[RenderedExample], refs: np.ndarray, buckets: range
) -> Iterator[tuple[int, bytes]]:
    block = np.empty(len(examples), audit_pairs.TEXT)
    block["inputs"] = [text_hash(example.inputs) for example in examples]
    block["both"] = [text_hash(example.inputs, example.targets) for example in examples]
    block["ref"] = refs
    return audit_pairs.by_bucket(block, block["inputs"], plan.buckets, buckets)


def _band_blocks(
    plan: AuditPlan, examples: Sequence[RenderedExample], refs: np.ndarray, buckets: range
) -> Iterator[tuple[int, bytes]]:
    sets = shingles([text_of(example) for example in examples], plan.settings.shingle_words)
    keys = plan.min_hash.keys(sets)
    block = np.empty(keys.shape, audit_pairs.BAND)
    block["key"] = keys
    block["ref"] = refs[:, None]
    block["row"] = np.array([text_hash(each.example_id) for each in examples], np.uint64)[:, None]
    block = block.ravel()
    return audit_pairs.by_bucket(block, block["key"], plan.buckets, buckets)


def _count(plan: AuditPlan, stats: TaskStats, examples: Sequence[RenderedExample]) -> None:
    settings = plan.settings
    for side, texts, room in (
        (stats.inputs, [example.inputs for example in examples], settings.inputs_room),
        (stats.targets, [example.targets for example in examples], settings.targets_room),
    ):
        encoded = plan.vocabulary.encode_batch(texts)
        side.count(np.array([len(ids) for ids in encoded], np.int64), room)
    stats.count_targets(examples)


def _odd_targets(
    plan: AuditPlan, examples: Sequence[RenderedExample], refs: np.ndarray
) -> Iterator[tuple[tuple[str, int], bytes]]:
    for example, ref in zip(examples, refs.tolist(), strict=True):
        if audit_stats.is_empty(example):
            yield plan.line(EMPTY, ref, {"example_id": example.example_id})
        if example.answer_choices is not None and audit_stats.choice_place(example) is None:
            found = {
                "example_id": example.example_id,
                "targets": example.targets[:_EXCERPT],
                "answer_choices": [choice[:_EXCERPT] for choice in example.answer_choices],
            }
            yield plan.line(MISSING, ref, found)


def _find_overlap(
    plan: AuditPlan,
    scan: FileScan,
    stats: TaskStats,
    examples: Sequence[RenderedExample],
    refs: np.ndarray,
) -> None:
    if not plan.held_out:
        return
    index = _held_out(plan.held_out)
    texts = [text_of(example) for example in examples]
    words = WordBatch.of(texts)
    for grams in index.grams:
        touched = scan.touched.setdefault(grams.n, set())
        for overlap in overlaps(texts, words, grams):
            touched.update(overlap.held_out.tolist())
            stats.overlap[grams.n] += 1
            found = {
                "example_id": examples[overlap.row].example_id,
                "matches": overlap.matches,
                "held_out": index.row_ids[int(overlap.held_out[0])],
                "held_out_rows": len(overlap.held_out),
                "text": overlap.text,
            }
            scan.lines.append(plan.line(overlap_list(grams.n), int(refs[overlap.row]), found))


class _ScanFile(beam.DoFn):
    """Position of a file -> what it gives, by tag."""

    def __init__(
        self, plan: AuditPlan, buckets: range, progress_folder: str, *, first: bool
    ) -> None:
        self._plan, self._buckets, self._first = plan, buckets, first
        self._progress_folder = progress_folder

    def process(self, element: int) -> Iterator[Any]:
        """Scans one file."""
        done = RowsDone(self._progress_folder)
        task = self._plan.files[element].task
        for scan in scan_file(self._plan, element, self._buckets, first=self._first):
            yield from (pvalue.TaggedOutput("texts", each) for each in scan.texts)
            yield from (pvalue.TaggedOutput("bands", each) for each in scan.bands)
            yield from (pvalue.TaggedOutput("lines", each) for each in scan.lines)
            for n, rows in scan.touched.items():
                yield pvalue.TaggedOutput("touched", (n, frozenset(rows)))
            done.add(scan.rows)
            if scan.stats.examples:
                yield pvalue.TaggedOutput("stats", (task, scan.stats))
        done.close()


# --- Comparing ---------------------------------------------------------------------------------


class _FindSameTexts(beam.DoFn):
    """(bucket, blocks) -> lines of lists, counts of (list, later task, earlier task)."""

    def __init__(self, plan: AuditPlan) -> None:
        self._plan = plan

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
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
            yield pvalue.TaggedOutput("lines", plan.line(EXACT, later, line))
        for ref in found.other_targets.tolist():
            line = {"example_id": rows.read(ref).example_id}
            yield pvalue.TaggedOutput("lines", plan.line(OTHER_TARGETS, ref, line))
        rows.close()
        yield pvalue.TaggedOutput("counts", counts)


class _FindCandidates(beam.DoFn):
    """(bucket, blocks) -> (bucket of the later row, pairs) and counts, by tag."""

    def __init__(self, plan: AuditPlan) -> None:
        self._plan = plan

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        """Pairs the rows of one bucket."""
        bands = audit_pairs.joined(element[1], audit_pairs.BAND)
        found = audit_pairs.candidates(bands, most=self._plan.settings.most_compared)
        every = range(self._plan.buckets)
        for block in audit_pairs.by_bucket(
            found.pairs, found.pairs["later"], self._plan.buckets, every
        ):
            yield pvalue.TaggedOutput("pairs", block)
        yield pvalue.TaggedOutput("counts", Counter({("not_compared",): found.not_compared}))


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


class _Verify(beam.DoFn):
    """Bucket -> lines of its near duplicates, counts."""

    def __init__(self, plan: AuditPlan, passes: int) -> None:
        self._plan, self._passes = plan, passes

    def process(self, element: int) -> Iterator[Any]:
        """Compares the texts of the pairs that all passes found for one bucket."""
        plan = self._plan
        pairs = _read_pairs(plan, element, self._passes)
        counts: Counter[tuple] = Counter({("compared",): len(pairs)})
        rows = plan.rows()
        for later, found in verified(plan, pairs, rows):
            counts[NEAR, plan.task_of(later), plan.task_of(found.earlier)] += 1
            yield pvalue.TaggedOutput("lines", _near_line(plan, rows, later, found))
        rows.close()
        yield pvalue.TaggedOutput("counts", counts)


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


def _near_line(
    plan: AuditPlan, rows: RenderedRows, later: int, found: NearDuplicates
) -> tuple[tuple[str, int], bytes]:
    one, other = rows.read(later), rows.read(found.earlier)
    line = {
        "example_id": one.example_id,
        "duplicate_of_task": plan.tasks[plan.task_of(found.earlier)],
        "duplicate_of": other.example_id,
        "likeness": round(found.likeness, 6),
        "near_rows": found.number,
        "inputs": one.inputs[:_EXCERPT],
        "inputs_of_other": other.inputs[:_EXCERPT],
    }
    return plan.line(NEAR, later, line)


def same_text(one: RenderedExample, other: RenderedExample) -> bool:
    """Whether two examples are exact duplicates."""
    return (one.inputs, one.targets) == (other.inputs, other.targets)


# --- Writing -----------------------------------------------------------------------------------


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


class _WriteLines(beam.DoFn):
    """((list, part), lines) -> nothing; the lines lie in a file, in order."""

    def __init__(self, plan: AuditPlan, number: int) -> None:
        self._plan, self._number = plan, number

    def process(self, element: tuple[tuple[str, int], Iterable[bytes]]) -> None:
        """Writes one part of a list."""
        (name, part), lines = element
        path = as_path(self._plan.folder) / part_name(name, self._number, part)
        _write(path, sorted(lines))


class _WriteReport(beam.DoFn):
    """(0, (section, content)) -> nothing; what was counted lies in a file."""

    def __init__(self, plan: AuditPlan, number: int) -> None:
        self._plan, self._number = plan, number

    def process(self, element: tuple[int, Iterable[tuple[str, Any]]]) -> None:
        """Writes the report of a pass."""
        report: dict[str, list[Any]] = {"stats": [], "counts": [], "touched": []}
        for section, content in element[1]:
            report[section].append(content)
        path = as_path(self._plan.folder) / report_name(self._number)
        _write(path, [json.dumps(report).encode()])


class _WritePairs(beam.DoFn):
    """(bucket of the later row, pairs) -> nothing; the pairs lie in a file, each once."""

    def __init__(self, plan: AuditPlan, number: int) -> None:
        self._plan, self._number = plan, number

    def process(self, element: tuple[int, Iterable[bytes]]) -> None:
        """Writes one file."""
        bucket, blocks = element
        pairs = audit_pairs.different(audit_pairs.joined(blocks, audit_pairs.PAIR))
        path = as_path(self._plan.folder) / pairs_name(self._number, bucket)
        _write(path, [pairs.tobytes()])


def pairs_name(number: int, bucket: int) -> str:
    """The file of the pairs that one pass found for one bucket."""
    return f"pairs.{number:05d}.{bucket:06d}"


def part_name(name: str, number: int, part: int) -> str:
    """The file of one part of a list that one pass found."""
    return f"part.{name}.{number:05d}.{part:05d}"


def report_name(number: int) -> str:
    """The file of what one pass counted."""
    return f"report.{number:05d}.json"


def _write(path: Any, chunks: Iterable[bytes]) -> None:
    try:
        write_atomically(path, chunks)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


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
        """Start of a pipeline -> nothing."""
        plan = self.plan
        scan = _ScanFile(plan, self.buckets, self.progress_folder, first=self.number == 0)
        tags = ("texts", "bands", "lines", "touched", "stats")
        scanned = (
            pipeline
            | "Files" >> beam.Create(range(len(plan.files)))
            | "Spread" >> beam.Reshuffle()
            | "Scan" >> beam.ParDo(scan).with_outputs(*tags)
        )
        same = (
            scanned.texts
            | "GatherTexts" >> beam.GroupByKey()
            | "SameTexts" >> beam.ParDo(_FindSameTexts(plan)).with_outputs("lines", "counts")
        )
        paired = (
            scanned.bands
            | "GatherBands" >> beam.GroupByKey()
            | "Candidates" >> beam.ParDo(_FindCandidates(plan)).with_outputs("pairs", "counts")
        )
        _ = (
            paired.pairs
            | "GatherPairs" >> beam.GroupByKey()
            | "WritePairs" >> beam.ParDo(_WritePairs(plan, self.number))
        )
        _ = (
            (scanned.lines, same.lines)
            | "AllLines" >> beam.Flatten()
            | WrittenLines(plan, self.number)
        )
        counts = (
            (same.counts, paired.counts)
            | "AllCounts" >> beam.Flatten()
            | "SumCounts" >> beam.CombineGlobally(_add_counts)
            | "CountsToReport" >> beam.Map(_counts_to_report)
        )
        stats = (
            scanned.stats
            | "SumStats" >> beam.CombinePerKey(_SumStats())
            | "StatsToReport" >> beam.Map(_stats_to_report)
        )
        touched = (
            scanned.touched
            | "SumTouched" >> beam.CombinePerKey(_union)
            | "TouchedToReport" >> beam.Map(_touched_to_report)
        )
        _ = (
            (counts, stats, touched)
            | "AllOfReport" >> beam.Flatten()
            | "GatherReport" >> beam.GroupByKey()
            | "WriteReport" >> beam.ParDo(_WriteReport(plan, self.number))
        )


@dataclasses.dataclass
class WrittenLines(beam.PTransform):
    """((list, part), line) -> nothing; writes the parts of lists.

    Attributes:
        plan: what to do.
        number: the pass's.
    """

    plan: AuditPlan
    number: int

    def expand(self, pcoll):
        """Lines -> nothing."""
        return (
            pcoll
            | "GatherLines" >> beam.GroupByKey()
            | "WriteLines" >> beam.ParDo(_WriteLines(self.plan, self.number))
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
        """Start of a pipeline -> nothing."""
        found = (
            pipeline
            | "Buckets" >> beam.Create(range(self.plan.buckets))
            | "Spread" >> beam.Reshuffle()
            | "Verify"
            >> beam.ParDo(_Verify(self.plan, self.passes)).with_outputs("lines", "counts")
        )
        _ = found.lines | WrittenLines(self.plan, self.passes)
        _ = (
            found.counts
            | "SumCounts" >> beam.CombineGlobally(_add_counts)
            | "CountsToReport" >> beam.Map(_counts_to_report)
            | "GatherReport" >> beam.GroupByKey()
            | "WriteReport" >> beam.ParDo(_WriteReport(self.plan, self.passes))
        )


def _counts_to_report(counts: Counter[tuple]) -> tuple[int, tuple[str, Any]]:
    return 0, ("counts", [[list(key), count] for key, count in counts.items()])


def _stats_to_report(item: tuple[int, TaskStats]) -> tuple[int, tuple[str, Any]]:
    return 0, ("stats", [item[0], audit_stats.to_json(item[1])])


def _touched_to_report(item: tuple[int, frozenset[int]]) -> tuple[int, tuple[str, Any]]:
    return 0, ("touched", [item[0], sorted(item[1])])
