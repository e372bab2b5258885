"""One rendered file to what it tells of its rows: counts, odd ones, hashes to compare them by.

Rows travel as flat blocks of hashes; nothing holds all rows.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from itertools import islice

import apache_beam as beam
import numpy as np

from instrux.beam.audit_plan import EMPTY, EXCERPT, MISSING, AuditPlan, Line, overlap_list
from instrux.beam.parts import Tagged
from instrux.beam.rows_done import RowsDone
from instrux.data import audit_pairs, audit_stats
from instrux.data.audit_overlap import HeldOutIndex, overlaps, text_of
from instrux.data.audit_stats import TaskStats
from instrux.data.audit_words import WordBatch, shingles, text_hash
from instrux.data.examples import RenderedExample
from instrux.data.tfrecord import read_placed_records

TEXTS, BANDS, LINES, TOUCHED, STATS = "texts", "bands", "lines", "touched", "stats"
_EXAMPLES_AT_ONCE = 2048


@functools.lru_cache(maxsize=1)
def _held_out(path: str) -> HeldOutIndex:
    return HeldOutIndex.read(path)  # no two contents ever have the same name


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
    lines: list[Line] = dataclasses.field(default_factory=list)
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
) -> Iterator[Line]:
    for example, ref in zip(examples, refs.tolist(), strict=True):
        if audit_stats.is_empty(example):
            yield plan.line(EMPTY, ref, {"example_id": example.example_id})
        if example.answer_choices is not None and audit_stats.choice_place(example) is None:
            found = {
                "example_id": example.example_id,
                "targets": example.targets[:EXCERPT],
                "answer_choices": [choice[:EXCERPT] for choice in example.answer_choices],
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


class ScanFile(beam.DoFn):
    """Position of a file -> what it gives, each under its tag."""

    def __init__(
        self, plan: AuditPlan, buckets: range, progress_folder: str, *, first: bool
    ) -> None:
        self._plan, self._buckets, self._first = plan, buckets, first
        self._progress_folder = progress_folder

    def process(self, element: int) -> Iterator[Tagged]:
        """Scans one file."""
        done = RowsDone(self._progress_folder)
        task = self._plan.files[element].task
        for scan in scan_file(self._plan, element, self._buckets, first=self._first):
            yield from ((TEXTS, each) for each in scan.texts)
            yield from ((BANDS, each) for each in scan.bands)
            yield from ((LINES, each) for each in scan.lines)
            yield from ((TOUCHED, (n, frozenset(rows))) for n, rows in scan.touched.items())
            done.add(scan.rows)
            if scan.stats.examples:
                yield STATS, (task, scan.stats)
        done.close()
