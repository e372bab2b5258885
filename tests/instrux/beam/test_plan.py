"""What a render job is to do, before Beam hears of it."""

import json

import pytest

from instrux.beam.plan import SourceReader, make_plans, plain, split_job
from instrux.beam.template_fields import template_fields
from instrux.data import sources_files
from instrux.data.natural_instructions_template import TokenizerFile
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.errors import InputError
from instrux.prompts import Template


@pytest.fixture
def reader():
    return SourceReader()


@pytest.fixture
def jobs(tmp_path, reader):
    """Three templates over each of two datasets of 100 and 10 rows."""

    def of(dataset, rows):
        path = tmp_path / f"{dataset}.jsonl"
        path.write_text("".join(json.dumps({"x": n}) + "\n" for n in range(rows)))
        source = JsonLinesSource(dataset, files={"train": str(path)})
        for name in "abc":
            template = Template(name=name, jinja="{{x}} ||| y")
            task = PromptedTask(f"{dataset}_{name}", source, template, {"train": "train"})
            yield split_job(task, "train", data_dir="out", num_shards=None, reader=reader)

    return [*of("long", 100), *of("short", 10)]


def names(plan):
    return [job.task.name for job in plan.jobs]


def test_jobs_over_the_same_rows_share_their_units(jobs, reader):
    (plan,) = make_plans(jobs, reader)
    assert names(plan) == ["long_a", "long_b", "long_c", "short_a", "short_b", "short_c"]
    assert [unit.jobs for unit in plan.units] == [(0, 1, 2), (3, 4, 5)]
    assert plan.renders == 3 * 110
    read = sum(len(json.dumps({"x": n})) + 1 for n in (*range(100), *range(10)))
    assert plan.bytes == 3 * read + 150 * plan.renders


def test_units_with_the_most_to_render_come_first(jobs, reader):
    (plan,) = make_plans([*jobs[3:], jobs[0]], reader)  # 3 x 10 renders, then 1 x 100
    assert [(unit.shard.num_rows, unit.jobs) for unit in plan.units] == [
        (100, (3,)),
        (10, (0, 1, 2)),
    ]


def test_a_bound_on_memory_spreads_templates_over_plans(jobs, reader):
    long_bytes = sum(len(json.dumps({"x": n})) + 1 for n in range(100))
    plans = list(make_plans(jobs, reader, bytes_at_once=2 * long_bytes))
    assert list(map(names, plans)) == [
        ["long_a", "long_b"],
        ["long_c", "short_a", "short_b", "short_c"],
    ]
    assert [unit.jobs for unit in plans[1].units] == [(0,), (1, 2, 3)]
    assert [len(names(plan)) for plan in make_plans(jobs, reader, bytes_at_once=1)] == [1] * 6


def test_the_number_of_shards_follows_the_rows(jobs, monkeypatch, reader):
    assert jobs[0].num_shards == 1
    monkeypatch.setattr("instrux.beam.plan.ROWS_PER_SHARD", 33)
    job = split_job(jobs[0].task, "train", data_dir="out", num_shards=None, reader=reader)
    assert (job.rows, job.num_shards) == (100, 4)
    job = split_job(jobs[0].task, "train", data_dir="out", num_shards=7, reader=reader)
    assert job.num_shards == job.settings["num_shards"] == 7


def test_a_large_file_is_cut_into_units(jobs, monkeypatch):
    monkeypatch.setattr(sources_files, "_BYTES_PER_SHARD", 100)
    monkeypatch.setattr(sources_files, "_BLOCK", 50)
    sources_files._scan_once.cache_clear()
    (plan,) = make_plans(jobs[:3], SourceReader())
    assert len(plan.units) > 5
    assert sum(unit.shard.num_rows for unit in plan.units) == 100
    assert {unit.jobs for unit in plan.units} == {(0, 1, 2)}
    sources_files._scan_once.cache_clear()


def test_an_empty_split_is_told(tmp_path, reader):
    (tmp_path / "none.jsonl").touch()
    source = JsonLinesSource("toy", files={"train": str(tmp_path / "none.jsonl")})
    with pytest.raises(
        InputError, match=r"'train' of dataset 'toy' has no rows: see .*none\.jsonl"
    ):
        reader.shards(source, "train")


def test_settings_hold_the_template_and_not_where_files_lie(jobs):
    settings = jobs[0].settings
    assert settings["template"]["class"] == "Template"
    assert settings["template"]["jinja"] == "{{x}} ||| y"
    assert settings["fingerprint"].startswith("sha256:")
    assert "jsonl" not in json.dumps(settings)
    assert plain(("a", {"b": 1})) == ["a", {"b": 1}]


@pytest.mark.parametrize(
    ("jinja", "choices", "fields"),
    [
        ("{{premise}} {{ hypothesis | lower }} ||| {{answer_choices[label]}}", "Yes ||| No", 3),
        ("{% for n in range(3) %}{{n}}{% endfor %}{{ ['a'] | choice }} ||| x", None, 0),
        ("{% if note is defined %}{{note}}{% endif %} {{text}} ||| x", None, 1),
        (
            "{% set a = text %}{{ a }} ||| {{ options.label }}",
            "{{ options.text | join('|||') }}",
            2,
        ),
        ("{% if broken %} ||| x", None, 0),
    ],
)
def test_fields_of_a_template(jinja, choices, fields):
    assert len(template_fields(Template(name="t", jinja=jinja, answer_choices=choices))) == fields


def test_where_a_tokenizer_lies_is_no_part_of_the_settings():
    here, there = (TokenizerFile("gpt2", "digest", path) for path in ("/here", "/there"))
    assert plain(here) == plain(there)
    assert plain(here) != plain(TokenizerFile("gpt2", "another", "/here"))
