"""Jobs that are disturbed: killed, short of disk, refused by the file system, robbed of a worker."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from instrux.data.packed import PackedDataset
from instrux.data.rendered import RenderedSplit
from instrux.errors import InputError
from pipelines.pack import pack
from pipelines.render import render
from tests.faults.harness import damage
from tests.faults.harness.trials import Kind, Outcome, WrongError

ROOT = Path(__file__).resolve().parents[3]
SAID = "said.txt"
PROGRAM = """
import sys
from pathlib import Path
from instrux.data.prompted_task import PromptedTask
from tests.faults.harness import damage
folder = Path(sys.argv[1])
print("ready", flush=True)
damage.render(tasks=[damage._task(folder)], data_dir=folder, num_shards=2, beam_args=sys.argv[2:])
damage.pack(damage.packed_settings(), data_dir=folder, rates={damage.TASK: 1.0}, beam_args=sys.argv[2:])
"""


def _look(folder: Path) -> Outcome:
    """What looks complete must be right."""
    _, rendered = damage._sound(damage.FORMATS[0])
    _, packed = damage._sound(damage.FORMATS[2])
    outcome = Outcome.REFUSED
    if RenderedSplit(folder, damage.TASK, "train").exists():
        if damage.read_rendered(folder)[1] != rendered[1]:
            raise WrongError("a rendered split that looks complete is another one")
        outcome = Outcome.HELD
    try:
        rows = PackedDataset(damage.packed_settings().folder(folder)).rows
    except InputError:
        return outcome
    if not damage.same(rows(range(len(packed[1]))), packed[1]):  # type: ignore[arg-type]
        raise WrongError("a packed set that looks complete is another one")
    return Outcome.HELD


def _again(folder: Path) -> None:
    render(tasks=[damage._task(folder)], data_dir=folder, num_shards=2)
    pack(damage.packed_settings(), data_dir=folder, rates={damage.TASK: 1.0})
    if _look(folder) is not Outcome.HELD:
        raise WrongError("the next run did not complete")


def _started(folder: Path, *beam_args: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), *beam_args],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=(folder / SAID).open("wb"),
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def job_killed(draw: random.Random, folder: Path) -> Outcome:
    """Kills render and pack at a random moment, and runs them again."""
    process = _started(folder)
    try:
        process.wait(draw.random() * 1.5)
    except subprocess.TimeoutExpired:
        process.send_signal(draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        process.wait()
    outcome = _look(folder)
    _again(folder)
    return outcome


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task")
    found = []
    for task in path.iterdir() if path.is_dir() else ():
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def worker_killed(draw: random.Random, folder: Path) -> Outcome:
    """Kills one of two worker processes; the job may fail and say why, or go on."""
    process = _started(folder, "--direct_num_workers=2")
    deadline = time.monotonic() + 200
    try:
        while not (workers := _children(process.pid)) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.random() * 6)
        if workers and process.poll() is None:
            os.kill(draw.choice(workers), signal.SIGKILL)
        process.wait(deadline - time.monotonic())
    except ProcessLookupError:
        process.wait(deadline - time.monotonic())
    except subprocess.TimeoutExpired:
        process.kill()
        raise WrongError("the job hung when it lost a worker") from None
    finally:
        process.kill()
        process.wait()
    said = (folder / SAID).read_text()
    if process.returncode and "a worker process of the job was killed (SIGKILL)" not in said:
        raise WrongError(f"the job lost a worker and said: {said[-300:]}")
    outcome = _look(folder)
    _again(folder)
    return outcome


def disk_full(draw: random.Random, folder: Path) -> Outcome:
    """Lets no file grow beyond some size (EFBIG, as a full disk at a random place)."""
    task = damage._task(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (draw.randrange(1, 12_000), hard))
    try:
        render(tasks=[task], data_dir=folder, num_shards=2)
        pack(damage.packed_settings(), data_dir=folder, rates={damage.TASK: 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        _look(folder)
        _again(folder)
    return Outcome.HELD


def no_permission(draw: random.Random, folder: Path) -> Outcome:
    """Writes where nobody may: /proc, /sys, a file in the place of a folder."""
    damage._task(folder)
    (folder / "file").write_text("")
    place = draw.choice([Path("/proc/instrux"), Path("/sys/instrux"), folder / "file" / "data"])
    what: Callable[[], object] = draw.choice(
        [
            lambda: render(tasks=[damage._task(folder)], data_dir=place),
            lambda: damage.make_parameters(place / "run"),
            lambda: pack(
                damage.packed_settings(), data_dir=_with_rendered(folder), rates={damage.TASK: 1.0}
            ),
        ]
    )
    what()
    raise WrongError(f"{place} was written to")


def _with_rendered(folder: Path) -> Path:
    """A rendered split beside which no packed set can be made."""
    damage.make_rendered(folder)
    (folder / "packed").write_text("")
    return folder


def kinds() -> list[Kind]:
    """Every kind of disturbance."""
    places = ("/proc/instrux", "/sys/instrux")
    return [
        Kind("Disturbed jobs", "render and pack killed", job_killed, costly=True),
        Kind("Disturbed jobs", "one of two workers killed", worker_killed, costly=True),
        Kind(
            "Disturbed jobs",
            "files that cannot grow (full disk)",
            disk_full,
            (damage.TASK, "rows.array_record"),
        ),
        Kind("Disturbed jobs", "places that cannot be written", no_permission, places),
    ]
