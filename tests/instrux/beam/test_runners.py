"""Pipelines run quietly, and tell a user's mistake in one line."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import apache_beam as beam
import pytest

from instrux.beam.runners import is_local, pipeline_options, run_pipeline, shares_this_machine
from instrux.data.tfrecord import TFRecordError
from instrux.errors import InputError


def fail(number):
    if number == 2:
        raise InputError("rows.jsonl, line 3: mend it.")
    return number


def fail_with_a_kind_of_its_own(number):
    raise TFRecordError("a.tfrecord", 16, "the file ends")


def fail_by_our_fault(number):
    return number / 0


def run(function, *beam_args, watch=None):
    def build(pipeline):
        _ = pipeline | beam.Create(range(4)) | beam.Reshuffle() | beam.Map(function)

    run_pipeline(build, pipeline_options(beam_args), watch=watch)


def test_a_notebook_needs_nothing_of_beams_interactive_part(monkeypatch):
    shell = SimpleNamespace(execution_count=7, config={})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    part = "apache_beam.runners.interactive.interactive_environment"
    monkeypatch.setitem(sys.modules, part, None)  # importing it fails, as with pandas 3
    labels = []

    def build(pipeline):
        labels.append((pipeline | "Numbers" >> beam.Create([1])).producer.full_label)

    run_pipeline(build, pipeline_options(()))
    assert labels == ["Numbers/Map(decode)"]  # and no number of a cell


@pytest.mark.parametrize(
    "workers", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["here", "processes"]
)
def test_an_input_error_of_a_worker_arrives_as_itself(workers, capfd):
    with pytest.raises(InputError) as caught:
        run(fail, f"--direct_num_workers={workers}")
    assert str(caught.value) == "rows.jsonl, line 3: mend it."
    assert capfd.readouterr().err == ""


def test_a_kind_of_input_error_arrives_with_its_message():
    with pytest.raises(InputError, match=r"^a\.tfrecord: the file ends in the record at byte 16"):
        run(fail_with_a_kind_of_its_own)


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(Exception, match="division by zero") as caught:
        run(fail_by_our_fault)
    assert not isinstance(caught.value, InputError)
    assert "fail_by_our_fault" in str(caught.value)


def test_the_watcher_is_called_on_this_thread():
    import threading
    import time

    threads = []
    run(lambda _: time.sleep(0.3), watch=lambda: threads.append(threading.current_thread()))
    assert set(threads) == {threading.current_thread()}


def test_options_say_where_the_work_goes():
    assert is_local(pipeline_options([]))
    assert is_local(pipeline_options(["--runner=DirectRunner"]))
    pytest.importorskip("distributed")
    dask = pipeline_options(["--runner=DaskRunner"])
    assert not is_local(dask) and shares_this_machine(dask)


def test_importing_beam_leaves_logging_as_it_was():
    code = (
        "import logging, instrux.beam\n"
        "assert logging.getLogger().handlers == []\n"
        "assert logging.getLogger().manager.disable == 0\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


SLEEPERS = """
import os, pathlib, sys, time
import apache_beam as beam
from instrux.beam.runners import pipeline_options, run_pipeline

folder = sys.argv[1]

def build(pipeline):
    def note_and_sleep(number):
        import os, pathlib, time
        (pathlib.Path(folder) / str(os.getpid())).touch()
        time.sleep(120)
    _ = pipeline | beam.Create(range(8)) | beam.Reshuffle() | beam.Map(note_and_sleep)

run_pipeline(build, pipeline_options(["--direct_num_workers=2"]))
"""


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_workers_end_when_their_job_is_killed(tmp_path):
    job = subprocess.Popen([sys.executable, "-c", SLEEPERS, str(tmp_path)])
    try:
        deadline = time.monotonic() + 60
        while not (pids := [int(path.name) for path in tmp_path.iterdir()]):
            assert time.monotonic() < deadline and job.poll() is None
            time.sleep(0.1)
    finally:
        job.kill()
        job.wait()
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


KILLED_WORKER = """
import os, pathlib, signal, sys
import apache_beam as beam
from instrux.beam.runners import pipeline_options, run_pipeline
from instrux.errors import InputError

def die(number):
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)

def build(pipeline):
    numbers = pipeline | beam.Create(range(4)) | beam.Reshuffle()
    if sys.argv[1] == "last step":
        _ = numbers | beam.Map(die)
    else:
        _ = numbers | beam.Map(die) | beam.Map(lambda _: (0, 0)) | beam.GroupByKey()

try:
    run_pipeline(build, pipeline_options(["--direct_num_workers=2"]))
except InputError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["last step", "before others"])
def test_a_job_that_loses_a_worker_ends_and_says_so(where):
    """Beam by itself waits for ever for the answer of a worker that died in the last step."""
    job = subprocess.run(
        [sys.executable, "-c", KILLED_WORKER, where], capture_output=True, text=True, timeout=300
    )
    assert job.returncode == 0, job.stderr
    assert job.stdout.startswith("a worker process of the job was killed (SIGKILL)")


def test_outputs_that_a_lost_worker_did_not_send_are_not_waited_for():
    """Its process had told that a step was done, and was killed before its channel was open."""
    from apache_beam.runners.portability.fn_api_runner import worker_handlers
    from apache_beam.runners.worker import data_plane

    from instrux.beam.worker_processes import _WatchedProcess

    handler = object.__new__(_WatchedProcess)
    handler.control_conn = worker_handlers.ControlConnection()
    handler.data_conn = data_plane._GrpcDataChannel()
    handler._answer_all("a worker process was killed")
    deadline = time.monotonic() + 30
    with pytest.raises(RuntimeError, match="a worker process was killed"):
        list(
            handler.data_conn.input_elements(
                "bundle_1", ["an output"], abort_callback=lambda: time.monotonic() > deadline
            )
        )


def test_how_a_worker_ended_is_worded():
    from instrux.beam.worker_processes import KILLED, _how_it_ended

    assert _how_it_ended("-9").startswith(f"{KILLED} (SIGKILL), most often for lack of memory")
    assert _how_it_ended("-250").startswith(f"{KILLED} (signal 250)")
    assert _how_it_ended("3") == "a worker process of the job ended with status 3"
