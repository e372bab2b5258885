"""What Dataflow, Flink and Spark ask of a pipeline, on all that our jobs build; and Dask, for real."""

import base64
import bz2
import hashlib
import json
import logging
import pickletools
from pathlib import Path

import apache_beam as beam
import pytest
import seqio
from apache_beam.portability.api import beam_runner_api_pb2

from instrux.beam.reach import refuse_local_paths
from instrux.beam.runners import pipeline_options
from instrux.data import registration
from instrux.data.audit_settings import AuditSettings, AuditTask
from instrux.data.demonstration_formats import DemonstrationInput
from instrux.data.demonstration_settings import DemonstrationSettings
from instrux.data.packed_manifest import PackSettings
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.prompts import Template
from launch.beam_options import checked
from pipelines import audit as audit_module
from pipelines import cache as cache_module
from pipelines import demonstrations as demonstrations_module
from pipelines import pack as pack_module
from pipelines import run_plans
from pipelines.audit import audit
from pipelines.cache import cache
from pipelines.demonstrations import demonstrations
from pipelines.pack import pack
from pipelines.render import render

ROOT = Path(__file__).resolve().parents[2]
BYTES = VocabularySpec.parse("bytes")
NAMES = [f"engines_{n}" for n in range(3)]


def tasks_of(rows):
    source = JsonLinesSource("engines", None, {"train": str(rows)})
    jinja = "question {{k}} of all that there are to be asked ||| {{k}}"
    return [
        PromptedTask(name, source, Template(name, f"{name} {jinja}"), {"train": "train"})
        for name in NAMES
    ]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps({"k": n % 20}) + "\n" for n in range(30)))
    return path


@pytest.fixture(scope="module")
def data_dir(rows, tmp_path_factory):
    """Three rendered tasks that are registered, two files each."""
    folder = tmp_path_factory.mktemp("data")
    tasks = tasks_of(rows)
    render(tasks=tasks, data_dir=folder, num_shards=2)
    features = {
        name: seqio.Feature(BYTES.to_seqio(), add_eos=name == "targets")
        for name in ("inputs", "targets")
    }
    for task in tasks:
        registration.add_prompted_task(task, output_features=features, score_eval=False)
    return folder


def run_render(out, rows, data_dir, **settings):
    render(tasks=tasks_of(rows), data_dir=out, **settings)


def run_cache(out, rows, data_dir, **settings):
    _with_rendered(out, data_dir)
    cache(tasks=NAMES, data_dir=out, **settings)


def run_pack(out, rows, data_dir, *, num_shards=2, **settings):
    _with_rendered(out, data_dir)
    packed = PackSettings(
        mixture="engines",
        inputs_length=80,
        targets_length=8,
        vocabulary=BYTES,
        num_examples=60,
        num_shards=num_shards,
    )
    pack(packed, data_dir=out, rates=dict.fromkeys(NAMES, 1.0), **settings)


def run_audit(out, rows, data_dir, **settings):
    _with_rendered(out, data_dir)
    tasks = [AuditTask(name=name, rendered=name, rate=1, dataset="engines") for name in NAMES[:2]]
    audited = AuditSettings(mixture="engines", vocabulary=BYTES, held_out_splits=("train",))
    audit(audited, data_dir=out, tasks=tasks, held_out=NAMES[2:], **settings)


def run_demonstrations(out, rows, data_dir, **settings):
    path = rows.with_name("demonstrations.jsonl")
    lines = [
        {
            "id": f"d{n}",
            "prompt": f"Question {n % 25}?",
            "completion": "yes",
            "user_id": f"u{n % 7}",
        }
        for n in range(30)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    prepared = DemonstrationSettings(
        inputs=(DemonstrationInput.parse(f"instrux={path}"),), name="engines", vocabulary=BYTES
    )
    demonstrations(prepared, data_dir=out, **settings)


def _with_rendered(out, data_dir):
    if not (out / "rendered").exists():
        (out / "rendered").symlink_to(data_dir / "rendered")


JOBS = {
    "render": run_render,
    "cache": run_cache,
    "pack": run_pack,
    "audit": run_audit,
    "demonstrations": run_demonstrations,
}


@pytest.fixture
def protos_of(rows, data_dir, tmp_path, monkeypatch):
    """Runs a job here, and gives the protos of its pipelines."""
    protos = []

    def recorded(original):
        def run_pipeline(build, options, *, watch=None):
            def build_and_keep(pipeline):
                build(pipeline)
                protos.append(pipeline.to_runner_api())

            original(build_and_keep, options, watch=watch)

        return run_pipeline

    modules = (run_plans, cache_module, pack_module, audit_module, demonstrations_module)
    for module in modules:
        monkeypatch.setattr(module, "run_pipeline", recorded(module.run_pipeline))

    def build(job, **settings):
        protos.clear()
        out = tmp_path / f"{job}-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        JOBS[job](out, rows, data_dir, **settings)
        return list(protos)

    return build


def names(protos):
    return [[each.unique_name for each in proto.components.transforms.values()] for proto in protos]


def par_dos(proto):
    return [
        beam_runner_api_pb2.ParDoPayload.FromString(each.spec.payload)
        for each in proto.components.transforms.values()
        if each.spec.urn == "beam:transform:pardo:v1"
    ]


@pytest.mark.parametrize("job", JOBS)
def test_a_pipeline_has_names_that_stay_and_travels(protos_of, job):
    """A streaming engine maps the steps of an update by name; every step is pickled."""
    protos = protos_of(job)
    assert len(protos) == {"audit": 2}.get(job, 1)
    first, second = names(protos), names(protos_of(job))
    assert [sorted(each) for each in first] == [sorted(each) for each in second]
    for proto, steps in zip(protos, first, strict=True):
        assert len(steps) == len(set(steps)) > 4
        assert all(step.do_fn.payload for step in par_dos(proto))
        again = beam.Pipeline.from_runner_api(
            proto, "FnApiRunner", beam.options.pipeline_options.PipelineOptions([])
        )
        assert sorted(names([again.to_runner_api()])[0]) == sorted(steps)


@pytest.mark.parametrize("job", ["render", "pack"])
def test_names_stay_with_other_numbers_of_shards(protos_of, job):
    few, many = names(protos_of(job)), names(protos_of(job, num_shards=5))
    assert [sorted(each) for each in few] == [sorted(each) for each in many]


@pytest.mark.parametrize("job", JOBS)
def test_steps_carry_no_place_of_this_machine_but_those_that_they_were_given(
    protos_of, job, rows, tmp_path
):
    """So that a job whose data lie in an object store opens nothing of this machine."""
    known = (str(tmp_path), str(rows), str(rows.parent))
    for proto in protos_of(job):
        for step in par_dos(proto):
            for text in texts_in(step.do_fn.payload):
                is_ours = text.startswith(known) or "instrux-" in text  # the folder of progress
                is_code = text.endswith(".py")
                assert is_ours or is_code or not (text[:1] == "/" and Path(text).exists()), text


def texts_in(payload):
    """All strings in a pickled step, as Beam's pickler packs it."""
    pickled = bz2.decompress(base64.b64decode(payload))
    found = [arg for _, arg, _ in pickletools.genops(pickled) if isinstance(arg, str)]
    assert found
    return found


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


# --- Dask ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes that all jobs share."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_dask_writes_the_same_bytes(rows, data_dir, tmp_path, cluster, job):
    for name, arguments in (
        ("here", []),
        ("dask", ["--runner=DaskRunner", f"--dask_client_address={cluster}"]),
    ):
        (tmp_path / name).mkdir()
        JOBS[job](tmp_path / name, rows, data_dir, beam_args=arguments)
    assert written(tmp_path / "dask") == written(tmp_path / "here")


def written(folder):
    """Digests of what a job wrote; manifests tell times, and are compared by their counts."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if path.name.startswith("manifest"):
                content = json.dumps(json.loads(content).get("counts")).encode()
            found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    assert len(found) >= 3
    return found


def test_a_scheduler_that_does_not_answer_is_told(rows, tmp_path):
    pytest.importorskip("distributed")
    arguments = ["--runner=DaskRunner", "--dask_client_address=tcp://127.0.0.1:1"]
    with pytest.raises(InputError, match=r"tcp://127\.0\.0\.1:1: no Dask scheduler answers"):
        render(
            tasks=tasks_of(rows),
            data_dir=tmp_path,
            beam_args=[*arguments, "--dask_connection_timeout=1"],
        )


# --- Paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beam_args", "refused"),
    [
        (["--runner=FlinkRunner", "--flink_master=flink:8081"], True),
        (
            ["--runner=FlinkRunner", "--flink_master=flink:8081", "--environment_type=PROCESS"],
            False,
        ),
        (["--runner=FlinkRunner"], False),  # a cluster that Beam starts here
        (["--runner=SparkRunner", "--spark_master_url=spark://spark:7077"], True),
        (["--runner=SparkRunner"], False),
        (["--runner=PortableRunner", "--job_endpoint=a:1"], True),
        (["--runner=PortableRunner", "--job_endpoint=a:1", "--environment_type=LOOPBACK"], False),
        ([], False),
    ],
)
def test_paths_that_workers_cannot_see_are_refused(beam_args, refused):
    options = pipeline_options(beam_args)
    refuse_local_paths(options, ["gs://bucket/data", "s3://bucket/rows.jsonl"], what="data_dir")
    if not refused:
        refuse_local_paths(options, ["/data"], what="data_dir")
        return
    with pytest.raises(InputError, match=r"data_dir /data: .*workers run in containers"):
        refuse_local_paths(options, ["/data"], what="data_dir")


def test_dataflow_is_given_object_stores_only():
    options = beam.options.pipeline_options.PipelineOptions(["--runner=DataflowRunner"])
    with pytest.raises(InputError, match=r"rows in /data/rows\.jsonl: Dataflow's workers see no"):
        refuse_local_paths(options, ["gs://b/a", "/data/rows.jsonl"], what="rows in")


@pytest.mark.parametrize("job", JOBS)
def test_a_job_asks_before_it_starts(rows, data_dir, tmp_path, job):
    with pytest.raises(InputError, match="data_dir"):
        JOBS[job](
            tmp_path,
            rows,
            data_dir,
            beam_args=["--runner=FlinkRunner", "--flink_master=flink:8081"],
        )
    assert {path.name for path in tmp_path.iterdir()} <= {"rendered"}


def test_a_render_asks_for_its_rows_too(rows, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "pipelines.render.refuse_local_paths",
        lambda options, paths, *, what: asked.extend((what, str(path)) for path in paths),
    )
    render(tasks=tasks_of(rows)[:1], data_dir=tmp_path)
    assert asked == [("data_dir", str(tmp_path)), ("Dataset 'engines', rows in", str(rows))]
