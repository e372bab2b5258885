"""What Dataflow, Flink and Spark ask of a pipeline, on the one that `render` builds."""

import json
from pathlib import Path

import apache_beam as beam
import pytest

from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.prompts import Template
from launch.beam_options import checked
from pipelines import run_plans
from pipelines.render import render

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def proto_of(tmp_path, monkeypatch):
    """Builds the pipeline of a render, and gives its proto in place of running it."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(9)))
    source = JsonLinesSource("engines", None, {"train": str(rows)})
    tasks = [
        PromptedTask(
            f"engines_{n}", source, Template(f"t{n}", "{{n}} ||| {{n}}"), {"train": "train"}
        )
        for n in range(3)
    ]
    protos = []

    class BuiltError(Exception):
        pass

    def build_only(build, options, *, watch=None):
        pipeline = beam.Pipeline(runner="FnApiRunner")
        build(pipeline)
        protos.append(pipeline.to_runner_api())
        raise BuiltError

    monkeypatch.setattr(run_plans, "run_pipeline", build_only)

    def build(**settings):
        with pytest.raises(BuiltError):
            render(tasks=tasks, data_dir=tmp_path, **settings)
        return protos.pop()

    return build


def names(proto):
    return [each.unique_name for each in proto.components.transforms.values()]


def test_step_names_are_unique_and_stay(proto_of):
    first = names(proto_of())
    assert len(first) == len(set(first)) > 4
    assert sorted(names(proto_of())) == sorted(first)
    assert sorted(names(proto_of(num_shards=7))) == sorted(first)
    assert {"Read", "Render", "Write", "Finish"} <= set(first)


def test_the_pipeline_travels(proto_of):
    """Every step is pickled, and the proto builds the same pipeline again."""
    proto = proto_of()
    steps = [
        t for t in proto.components.transforms.values() if t.spec.urn == "beam:transform:pardo:v1"
    ]
    assert len(steps) >= 4 and all(step.spec.payload for step in steps)
    again = beam.Pipeline.from_runner_api(
        proto, "FnApiRunner", beam.options.pipeline_options.PipelineOptions([])
    )
    assert sorted(names(again.to_runner_api())) == sorted(names(proto))


@pytest.mark.parametrize("engine", ["dataflow", "flink", "spark"])
def test_beam_knows_every_option_of_the_worked_commands(engine):
    words = (
        (ROOT / "launch" / engine / "run.sh")
        .read_text()
        .split("instrux render")[1]
        .split("\n\n")[0]
    )
    ours = {"--task", "--data_dir"}
    flags = [word for word in words.split() if word.startswith("--") and word not in ours]
    assert len(flags) >= 4
    assert checked(flags) == flags
