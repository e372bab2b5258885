"""Sources of raw rows: every row once, with its number, wherever the file is cut."""

import csv
import gzip
import itertools
import json
import pickle
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.data import hugging_face, sources_files, sources_hub
from instrux.data.sources import (
    CsvSource,
    HuggingFaceSource,
    JsonLinesSource,
    ParquetSource,
    PythonSource,
    TfdsSource,
)
from instrux.errors import InputError

ROWS = [{"text": f"row {n}", "label": n % 2, "list": [n, None]} for n in range(10)]


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w")).write(text)
    return str(path)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(sources_files, "_BYTES_PER_SHARD", 60)
    monkeypatch.setattr(sources_files, "_BLOCK", 16)
    sources_files._scan_once.cache_clear()
    yield
    sources_files._scan_once.cache_clear()


# --- JSON lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_json_lines_are_read_with_their_numbers(tmp_path, name):
    source = JsonLinesSource("toy", "a", {"train": write_jsonl(tmp_path / name, ROWS)})
    assert list(source.rows("train")) == list(enumerate(ROWS))
    assert source.example_id("train", 3) == "toy/a/train/3"
    assert JsonLinesSource("toy").example_id("train", 3) == "toy/default/train/3"


def test_several_files_are_numbered_on(tmp_path):
    write_jsonl(tmp_path / "b-0.jsonl", ROWS[:4])
    write_jsonl(tmp_path / "b-1.jsonl", ROWS[4:])
    source = JsonLinesSource("toy", files={"train": str(tmp_path / "b-*.jsonl")})
    assert list(source.rows("train")) == list(enumerate(ROWS))
    files = [str(tmp_path / "b-1.jsonl"), str(tmp_path / "b-0.jsonl")]
    turned = JsonLinesSource("toy", files={"train": files})
    assert [row for _, row in turned.rows("train")] == ROWS[4:] + ROWS[:4]


@settings(max_examples=50)
@given(
    rows=st.lists(st.text(max_size=30), max_size=20),
    blank=st.sets(st.integers(0, 19)),
    last_newline=st.booleans(),
    size=st.integers(1, 80),
)
def test_cutting_a_file_anywhere_loses_no_row(tmp_path_factory, rows, blank, last_newline, size):
    lines = ["" if n in blank else json.dumps({"x": text}) for n, text in enumerate(rows)]
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("\n".join(lines) + ("\n" if last_newline else ""), encoding="utf-8")
    sources_files._scan_once.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources_files, "_BYTES_PER_SHARD", size)
        patch.setattr(sources_files, "_BLOCK", 7)
        source = JsonLinesSource("toy", files={"train": str(path)})
        shards = source.shards("train")
        read = [pair for shard in shards for pair in source.read(shard)]
    assert read == [(n, {"x": text}) for n, text in enumerate(rows) if n not in blank]
    for shard, after in itertools.pairwise(shards):
        assert (shard.end, shard.first_row + shard.num_rows) == (after.start, after.first_row)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "cut', "not valid JSON"),
        ("[1, 2]", "this is a list"),
        ('"text"', "this is a string"),
        ("null", "this is null"),
        ("[" * 100_000, "not valid JSON"),
        ("\udcff", "not UTF-8 text"),
    ],
)
def test_a_bad_row_is_told_with_file_and_line(tmp_path, small_shards, line, problem):
    path = tmp_path / "rows.jsonl"
    good = [json.dumps(row) for row in ROWS]
    path.write_text("\n".join([*good[:7], line, *good[7:]]), errors="surrogateescape")
    source = JsonLinesSource("toy", files={"train": str(path)})
    with pytest.raises(InputError) as caught:
        list(source.rows("train"))
    assert str(caught.value).startswith(f"{path}, line 8: ")
    assert problem in str(caught.value) and "\n" not in str(caught.value)


def test_the_line_is_counted_in_its_own_file(tmp_path):
    first = write_jsonl(tmp_path / "a.jsonl", ROWS)
    second = write_jsonl(tmp_path / "b.jsonl", [ROWS[0], 7])
    source = JsonLinesSource("toy", files={"train": [first, second]})
    with pytest.raises(InputError, match=r"b\.jsonl, line 2: .* this is a number"):
        list(source.rows("train"))


def test_a_bad_row_can_be_taken_note_of_and_passed_over(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [ROWS[0], 7, ROWS[2]])
    source = JsonLinesSource("toy", files={"train": path})
    bad = []
    (shard,) = source.shards("train")
    rows = list(source.read(shard, on_bad_row=lambda row, error: bad.append((row, str(error)))))
    assert rows == [(0, ROWS[0]), (2, ROWS[2])]
    assert [row for row, _ in bad] == [1] and "line 2" in bad[0][1]


def test_a_cut_gzip_file_is_told(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    write_jsonl(path, ROWS * 100)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"rows\.jsonl\.gz: cannot be decompressed"):
        JsonLinesSource("toy", files={"train": str(path)}).shards("train")


def test_a_missing_file_and_a_missing_split_are_told(tmp_path):
    source = JsonLinesSource("toy", "a", {"train": str(tmp_path / "none.jsonl")})
    with pytest.raises(InputError, match=r"none\.jsonl: no such file.*'train' of dataset 'toy/a'"):
        source.shards("train")
    with pytest.raises(InputError, match=r"no split 'tran'.*Did you mean 'train'"):
        source.shards("tran")


def test_the_fingerprint_follows_content_and_not_name(tmp_path):
    def fingerprint(name, rows):
        path = write_jsonl(tmp_path / name, rows)
        return JsonLinesSource("toy", files={"train": path}).fingerprint("train")

    assert fingerprint("a.jsonl", ROWS) == fingerprint("b.jsonl", ROWS)
    assert fingerprint("a.jsonl", ROWS) != fingerprint("c.jsonl", ROWS[1:])


def test_shards_and_sources_travel(tmp_path, small_shards):
    source = JsonLinesSource("toy", files={"train": write_jsonl(tmp_path / "a.jsonl", ROWS)})
    there = pickle.loads(pickle.dumps(source))
    shards = pickle.loads(pickle.dumps(source.shards("train")))
    assert len(shards) > 2
    assert [pair for shard in shards for pair in there.read(shard)] == list(enumerate(ROWS))
    assert there.key() == source.key()
    assert JsonLinesSource("toy").key() != ParquetSource("toy").key()


# --- Parquet and CSV -----------------------------------------------------------------------------


def test_parquet_is_read_by_row_groups(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=4)
    source = ParquetSource("toy", files={"train": str(path)})
    shards = source.shards("train")
    assert [(shard.first_row, shard.num_rows) for shard in shards] == [(0, 4), (4, 4), (8, 2)]
    assert list(source.rows("train")) == list(enumerate(ROWS))
    assert list(source.read(shards[2])) == [(8, ROWS[8]), (9, ROWS[9])]


def test_a_file_that_is_no_parquet_is_told(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_text("text")
    with pytest.raises(InputError, match=r"rows\.parquet: not a readable Parquet file"):
        ParquetSource("toy", files={"train": str(path)}).shards("train")


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t")])
def test_csv_fields_may_hold_commas_quotes_and_line_ends(tmp_path, name, delimiter):
    rows = [["a, b", 'say "yes"'], ["two\nlines", ""], ["\ttab", "é"]]
    with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([["one", "two"], *rows])
    source = CsvSource("toy", files={"train": str(tmp_path / name)})
    expected = [(n, {"one": one, "two": two}) for n, (one, two) in enumerate(rows)]
    assert list(source.rows("train")) == expected


def test_a_csv_row_with_too_few_values_is_told(tmp_path):
    (tmp_path / "a.csv").write_text("one,two\n1,2\n3\n")
    source = CsvSource("toy", files={"train": str(tmp_path / "a.csv")})
    with pytest.raises(InputError, match=r"a\.csv, row 2 after the header: 1 values for the 2 col"):
        list(source.rows("train"))


def test_a_csv_file_with_a_header_only_has_no_rows(tmp_path):
    (tmp_path / "a.csv").write_text("one,two\n")
    assert CsvSource("toy", files={"train": str(tmp_path / "a.csv")}).shards("train") == []


# --- Computed rows -------------------------------------------------------------------------------


def test_computed_rows_are_numbered_over_shards(monkeypatch):
    from instrux.data import sources_python

    monkeypatch.setattr(sources_python, "_ROWS_PER_SHARD", 4)
    source = PythonSource(
        "letters", function="itertools:repeat_not", split_names=("train",), arguments={}
    )
    with pytest.raises(InputError, match=r"'itertools' has no 'repeat_not'"):
        source.shards("train")
    monkeypatch.setattr(sources_python, "load_function", lambda name: lambda split, n: ROWS[:n])
    source = PythonSource("letters", function="m:f", arguments={"n": 9})
    assert [shard.first_row for shard in source.shards("train")] == [0, 4, 8]
    assert list(source.rows("train")) == list(enumerate(ROWS[:9]))
    fewer = PythonSource("letters", function="m:f", arguments={"n": 8})
    assert fewer.fingerprint("train") != source.fingerprint("train")


@pytest.mark.parametrize("name", ["no_colon", "module:", "no.such.module:function"])
def test_a_function_that_cannot_be_found_is_told(name):
    with pytest.raises(InputError, match=r"function|cannot import"):
        PythonSource("x", function=name).shards("train")


# --- Public datasets and mirrors -----------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    monkeypatch.setenv("INSTRUX_MIRROR", f"{tmp_path / 'absent'}:{folder}")
    return folder


@pytest.mark.parametrize("kind", [HuggingFaceSource, TfdsSource])
def test_a_mirror_is_looked_into_first(mirror, kind):
    write_jsonl(mirror / "super_glue" / "rte" / "train.jsonl", ROWS)
    pq.write_table(pa.Table.from_pylist(ROWS[:3]), mirror / "super_glue/rte/validation.parquet")
    write_jsonl(mirror / "imdb" / "default" / "test.jsonl.gz", ROWS[:2])
    source = kind("super_glue", "rte")
    assert sorted(source.splits()) == ["train", "validation"]
    assert list(source.rows("train")) == list(enumerate(ROWS))
    assert list(source.rows("validation")) == list(enumerate(ROWS[:3]))
    assert list(kind("imdb").rows("test")) == list(enumerate(ROWS[:2]))
    assert source.fingerprint("train") == kind("super_glue", "rte").fingerprint("train")
    with pytest.raises(InputError, match="'super_glue/rte' has no split 'test'"):
        source.shards("test")


def test_real_rows_of_a_mirror(shared_data, monkeypatch):
    monkeypatch.setenv("INSTRUX_MIRROR", str(shared_data / "p3"))
    rows = list(HuggingFaceSource("super_glue", "rte").rows("validation"))
    assert len(rows) == 277 and rows[276][0] == 276
    assert set(rows[0][1]) == {"premise", "hypothesis", "idx", "label"}


def test_without_the_library_the_pip_command_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'instrux\[hf\]'.*INSTRUX_MIRROR"):
        HuggingFaceSource("super_glue", "rte").splits()


def test_the_hugging_face_library_reads_a_local_dataset(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    folder = tmp_path / "acme_faq"
    write_jsonl(folder / "train.jsonl", ROWS)
    source = HuggingFaceSource(str(folder))
    assert source.splits() == ["train"]
    (shard,) = source.shards("train")
    assert list(source.read(shard)) == list(enumerate(ROWS))
    assert source.fingerprint("train").startswith("hf:")


def test_a_dataset_that_the_hub_does_not_give_is_one_line(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def refuse(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    monkeypatch.setattr(hugging_face, "unreachable", lambda: "")
    with pytest.raises(InputError, match=r"'acme/faq' cannot be had .*\(no route\)"):
        HuggingFaceSource("acme/faq").shards("train")


def test_an_unknown_tfds_dataset_is_told():
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(InputError, match="'no_such_dataset_here' is not in TensorFlow Datasets"):
        TfdsSource("no_such_dataset_here").shards("train")


@pytest.mark.slow
def test_a_tfds_dataset_that_cannot_be_had_is_tried_once(monkeypatch):
    class Unreachable:
        info = SimpleNamespace(splits={})
        attempts = 0

        def download_and_prepare(self):
            self.attempts += 1
            raise OSError("no network")

    builder = Unreachable()
    monkeypatch.setattr(sources_hub, "_tfds_builder", lambda name, data_dir: builder)
    for split in ("train", "test"):
        with pytest.raises(InputError, match=r"prepared \(no network\); put a copy into a folder"):
            TfdsSource("far_away").shards(split)
    assert builder.attempts == 1


def test_tfds_rows_are_plain_and_in_order(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    np = pytest.importorskip("numpy")
    rows = [{"text": f"row {n}", "label": n} for n in range(25)]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="toy_faq",
        version="1.0.0",
        features=tfds.features.FeaturesDict({"text": tfds.features.Text(), "label": np.int64}),
        split_datasets={"train": [(number, dict(row)) for number, row in enumerate(rows)]},
        data_dir=str(tmp_path),
        disable_shuffling=True,
    )
    source = TfdsSource("toy_faq", tfds_data_dir=str(tmp_path))
    assert source.splits() == ["train"]
    assert list(source.rows("train")) == list(enumerate(rows))
    assert source.fingerprint("train").startswith("tfds:toy_faq/1.0.0")
