"""One unit of rows through its templates, without a runner; and the stable choice of a shard."""

import dataclasses
import json
from collections import Counter

import pytest

from instrux.beam.blobs import Blob
from instrux.beam.dead_letters import dead_letter
from instrux.beam.plan import SourceReader, make_plans, split_job
from instrux.beam.render import UnitRenderer, shard_of
from instrux.beam.rows_done import RowsDone, total_done
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.prompts import Template


@pytest.fixture
def rendered(tmp_path):
    """The renderer of one unit after its rows: one good, one bad line, one that fails."""

    def render(*templates):
        path = tmp_path / "rows.jsonl"
        path.write_text('{"x": "a", "n-o": 1}\nnot json\n{"x": 3, "n-o": 0}\n')
        source = JsonLinesSource("toy", files={"train": str(path)})
        reader = SourceReader()
        jobs = [
            split_job(
                PromptedTask(template.name, source, template, {"train": "train"}),
                "train",
                data_dir="out",
                num_shards=None,
                reader=reader,
            )
            for template in templates
        ]
        (plan,) = make_plans(jobs, reader)
        (unit,) = plan.units
        renderer = UnitRenderer(unit, dict(enumerate(plan.jobs)))
        assert sum(renderer.render()) == 2 * len(templates)
        return renderer

    return render


def test_rows_failures_and_reasons_are_counted(rendered):
    good = Template(name="good", jinja="{{x}} ||| {{n_o}}")
    fails = Template(name="fails", jinja="{% set y = 1 // n_o %}{{x}} ||| {{z}}{{y}}")
    renderer = rendered(good, fails)
    counts = renderer.reports
    assert (counts[0].rows, counts[0].examples) == (3, 2)
    assert counts[0].failed == {"bad_row": 1}
    assert (counts[1].rows, counts[1].examples) == (3, 1)
    assert counts[1].failed == {"bad_row": 1, "render_error": 1}
    assert counts[1].missing_fields == {"z": 2}
    assert counts[1].row_fields == ("x", "n_o")
    blobs = {key: Blob.from_bytes(blob) for key, blob in renderer.buffers.drain()}
    letters = [json.loads(line) for line in blobs[1, "dead_letters.train.jsonl"].body.splitlines()]
    assert [(letter["example_id"], letter["reason"]) for letter in letters] == [
        ("toy/default/train/1", "bad_row"),
        ("toy/default/train/2", "render_error"),
    ]
    assert "line 2: not valid JSON" in letters[0]["detail"]
    assert blobs[0, "train.tfrecord-00000-of-00001"].records == 2


def test_any_exception_of_a_template_is_a_dead_letter(rendered):
    @dataclasses.dataclass(frozen=True)
    class Strange:
        name: str = "strange"

        def apply(self, row, *, rng, truncate, strip):
            raise MemoryError("of all things")

    (report,) = rendered(Strange()).reports.values()
    assert report.failed == {"bad_row": 1, "render_error": 2}
    assert "MemoryError: of all things" in report.first_failure or "line 2" in report.first_failure


def test_a_long_reason_is_cut_and_stays_one_line():
    letter = dead_letter(example_id="a/b/c/1", template="t", reason="r", detail="x\n\ud83d" * 999)
    assert letter.count(b"\n") == 1 and letter.endswith(b"\n")
    assert len(json.loads(letter)["detail"]) == 500


def test_the_shard_of_an_example_never_changes():
    # BLAKE2b with 8 bytes of digest, most significant byte first, modulo the number of shards:
    # `printf super_glue/rte/train/0 | b2sum -l 64` gives 4970d726abd2e41b.
    digest = int("4970d726abd2e41b", 16)
    for num_shards in (2, 3, 10, 128):
        assert shard_of("super_glue/rte/train/0", num_shards) == digest % num_shards
    assert shard_of("anything", 1) == 0


def test_shards_are_about_equally_full():
    counts = Counter(shard_of(f"toy/default/train/{row}", 8) for row in range(8000))
    assert len(counts) == 8 and min(counts.values()) > 850 and max(counts.values()) < 1150


def test_progress_of_several_workers_adds_up(tmp_path, monkeypatch):
    monkeypatch.setattr("instrux.beam.rows_done._EVERY_SECS", 0.0)
    first, second = RowsDone(str(tmp_path)), RowsDone(str(tmp_path))
    for _ in range(200):
        first.add(3)
    assert 3 * 64 <= total_done(str(tmp_path)) <= 600
    first.close()
    second.add(5)
    second.close()
    assert total_done(str(tmp_path)) == 605


def test_a_folder_that_is_gone_stops_no_worker(tmp_path):
    done = RowsDone(str(tmp_path / "gone"))
    done.add(1)
    done.close()
    assert done.done == 1
    RowsDone("").close()
