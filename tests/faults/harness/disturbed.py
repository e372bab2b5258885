"""Stages that are disturbed: killed, short of disk, refused by the file system, robbed of a worker."""

import functools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from instrux.data.artefact_checks import problems_of
from instrux.data.artefact_search import find_artefacts
from instrux.errors import InputError
from tests.faults.harness import damage
from tests.faults.harness.stages import STAGES, Stage, by_name, sound
from tests.faults.harness.trials import Kind, Outcome, WrongError

ROOT = Path(__file__).resolve().parents[3]
SAID = "said.txt"
LOST = "a worker process of the job was killed (SIGKILL)"
QUICK = [stage for stage in STAGES if not stage.costly]
COSTLY = [stage for stage in STAGES if stage.costly]
ON_BEAM = [by_name(name) for name in ("render", "cache", "pack", "audit")]


def _look(stage: Stage, folder: Path) -> Outcome:
    """What looks complete must be right."""
    if stage.name == "train":
        return Outcome.HELD  # what it wrote grows as it goes; `_again` holds it to its end
    outcome = Outcome.HELD
    for name in stage.outputs:
        if not _looks_complete(stage, folder / name):
            outcome = Outcome.REFUSED
        elif not damage.same(stage.content(folder / name), stage.undisturbed()[name]):
            raise WrongError(f"what {stage.name} made looks complete and is something else")
    return outcome


def _looks_complete(stage: Stage, place: Path) -> bool:
    """Whether a user would take what lies there for a whole output."""
    if not stage.is_ours:  # it is there or it is not
        return place.is_dir() and not place.is_symlink()
    try:
        found = [
            a for a in find_artefacts(place) if a.folder.is_relative_to(place)
        ]  # none above it
        artefacts = [a for a in found if a.complete]
        return bool(artefacts) and not any(True for each in artefacts for _ in problems_of(each))
    except InputError:
        return False  # nothing, or nothing that can be read


def _again(stage: Stage, folder: Path) -> None:
    try:
        stage.run(folder, ())
        made = stage.made(folder)
    except InputError as error:
        raise WrongError(f"the next run of {stage.name} did not complete: {error}") from error
    if not damage.same(made, stage.undisturbed()):
        raise WrongError(f"the next run of {stage.name} gave something else")


def _started(stage: Stage, folder: Path, *beam_args: str) -> subprocess.Popen[str]:
    with (folder / SAID).open("wb") as said:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.faults.harness.stages",
                stage.name,
                str(folder),
                *beam_args,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def killed(stages: Sequence[Stage], draw: random.Random, folder: Path) -> Outcome:
    """Kills a stage at a random moment, once or twice, and runs it again."""
    stage = draw.choice(stages)
    stage.prepare(folder)
    for _ in range(draw.randint(1, 2)):
        process = _started(stage, folder)
        try:
            process.wait(draw.random() * stage.kill_within)
        except subprocess.TimeoutExpired:
            process.send_signal(draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            process.wait()
    outcome = _look(stage, folder)
    _again(stage, folder)
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


def worker_killed(stages: Sequence[Stage], draw: random.Random, folder: Path) -> Outcome:
    """Kills one of two worker processes; the job may fail and say why, or go on."""
    stage = draw.choice(stages)
    stage.prepare(folder)
    process = _started(stage, folder, "--direct_num_workers=2")
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
        raise WrongError(f"{stage.name} hung when it lost a worker") from None
    finally:
        process.kill()
        process.wait()
    said = (folder / SAID).read_text()
    if process.returncode and LOST not in said:
        raise WrongError(f"{stage.name} lost a worker and said: {said[-300:]}")
    outcome = Outcome.REFUSED if process.returncode else _look(stage, folder)
    _again(stage, folder)
    return outcome


def disk_full(stages: Sequence[Stage], draw: random.Random, folder: Path) -> Outcome:
    """Lets no file grow beyond some size (EFBIG, as a full disk at a random place)."""
    stage = draw.choice(stages)
    stage.prepare(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (draw.randrange(1, 12_000), hard))
    try:
        stage.run(folder, ())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        _look(stage, folder)
        _again(stage, folder)
    return Outcome.HELD


def no_permission(stages: Sequence[Stage], draw: random.Random, folder: Path) -> Outcome:
    """Has a stage write where nobody may: a file, or a link to /proc or /sys, in its folder's place.

    Root ignores the modes of files, so that these stand for a folder without permission.
    """
    stage = draw.choice(stages)
    stage.prepare(folder)
    place = folder / stage.outputs[0]
    if place.exists():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    draw.choice(
        [
            lambda: place.write_text(""),
            lambda: place.symlink_to("/proc"),
            lambda: place.symlink_to("/sys/kernel"),
        ]
    )()
    stage.run(folder, ())
    raise WrongError(f"{stage.name} wrote into {place}")


def kinds() -> list[Kind]:
    """Every kind of disturbance."""
    train = [by_name("train")]
    after = [stage for stage in COSTLY if stage not in train]
    killed_apart = [by_name("demonstrations"), by_name("convert")]
    data = [stage for stage in QUICK if stage.name != "save" and stage not in killed_apart]
    return [
        _kind("render, cache, pack, audit, vocab, export killed", killed, data, costly=True),
        _kind("demonstrations and convert killed", killed, killed_apart, costly=True),
        _kind("training killed", killed, train, costly=True),
        _kind("evaluation and report killed", killed, after, costly=True),
        _kind("one of two workers killed", worker_killed, ON_BEAM, costly=True),
        _kind("full disk, stages on data", disk_full, QUICK),
        _kind("full disk, training, evaluation, report", disk_full, COSTLY, costly=True),
        _kind("no permission, stages on data", no_permission, QUICK),
        _kind("no permission, training, evaluation, report", no_permission, COSTLY, costly=True),
    ]


def _kind(
    name: str,
    attempt: Callable[[Sequence[Stage], random.Random, Path], Outcome],
    stages: Sequence[Stage],
    *,
    costly: bool = False,
) -> Kind:
    # What a refusal may name in place of the folder: files in the scratch folders of libraries.
    names = (damage.TASK, "rows.array_record", "/proc", "/sys/kernel")
    return Kind(
        "Disturbed jobs",
        name,
        functools.partial(attempt, stages),
        names,
        costly=costly,
        prepare=functools.partial(sound, stages),
    )
