import json

import pytest

from instrux.data.sources import JsonLinesSource, RowRangesSource
from instrux.data.sources_ranges import RowRange
from instrux.errors import InputError


def source(tmp_path, ranges, *, rows=50, **splits):
    files = {}
    for split, count in {"train": rows, **splits}.items():
        path = tmp_path / f"{split}.jsonl"
        path.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(count)))
        files[split] = str(path)
    return RowRangesSource("toy", source=JsonLinesSource("toy", files=files), ranges=ranges)


def numbers(rows, split):
    read = list(rows.rows(split))
    assert all(number == row["n"] for number, row in read)  # rows keep their numbers
    return [number for number, _ in read]


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("train", (0, 1000)),
        ("train[:300]", (0, 300)),
        ("train[-200:]", (800, 1000)),
        ("train[-600:-500]", (400, 500)),
        ("train[:-200]", (0, 800)),
        ("train[2000:3000]", (1000, 1000)),
    ],
)
def test_row_numbers_are_read_as_python_reads_slices(text, bounds):
    assert RowRange.parse(text).bounds(1000) == bounds


@pytest.mark.parametrize("text", ["train[5]", "train[1:2:3]", "train[:20%]", ""])
def test_other_forms_are_refused(text):
    with pytest.raises(InputError, match="write a split and row numbers"):
        RowRange.parse(text)


def test_a_cap_and_rows_held_out(tmp_path):
    rows = source(
        tmp_path, {"train": "train[:30]", "validation": "train[-5:]", "test": "test"}, test=3
    )
    assert rows.splits() == ["train", "validation", "test"]
    assert numbers(rows, "train") == list(range(30))
    assert numbers(rows, "validation") == list(range(45, 50))
    assert numbers(rows, "test") == [0, 1, 2]
    assert sum(shard.num_rows for shard in rows.shards("train")) == 30


def test_a_short_split_is_cut_so_that_ranges_never_overlap(tmp_path):
    rows = source(tmp_path, {"train": "train[:30000]", "validation": "train[-5:]"}, rows=12)
    assert numbers(rows, "train") == list(range(7))
    assert numbers(rows, "validation") == list(range(7, 12))


def test_a_range_without_rows_is_told(tmp_path):
    rows = source(tmp_path, {"train": "train[:-80]", "validation": "train[-80:]"})
    with pytest.raises(
        InputError, match=r"'toy', split 'train': train\[:-80\] has no rows.* has 50"
    ):
        rows.shards("train")
    with pytest.raises(InputError, match="no split 'tests'"):
        rows.shards("tests")


def test_a_split_that_the_source_lacks_is_left_out(tmp_path):
    assert source(tmp_path, {"train": "train", "test": "test"}).splits() == ["train"]


def test_bad_rows_outside_are_nobodys(tmp_path):
    rows = source(tmp_path, {"train": "train[:2]", "validation": "train[-2:]"}, rows=4)
    path = tmp_path / "train.jsonl"
    path.write_text('{"n": 0}\n[1]\n{"n": 2}\n[3]\n')
    bad = []
    for shard in rows.shards("train"):
        list(rows.read(shard, on_bad_row=lambda number, error: bad.append(number)))
    assert bad == [1]
