"""Which runs and evaluations lie below the folders that the studio was given.

Pages name them by a digest of their path, and only what was found here has one: no request names a
path of its own.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from instrux.errors import InputError
from instrux.evaluation.predictions import predictions_path
from instrux.evaluation.results import FILE_NAME, EvaluationResults, TaskResult, read_results

METRICS = "metrics.jsonl"
_MAX_DEPTH = 7
_MAX_FOLDERS = 20_000
_FRESH_SECONDS = 3.0
# Folders of a run or of a data folder that hold many files, and no run.
_SKIPPED = {"checkpoints", "rendered", "packed", "cache", "predictions", "tasks", "vocab"}


@dataclass(frozen=True)
class Run:
    """A run's folder.

    Attributes:
        id: names it in addresses.
        name: its path below the folder it was found in.
        path: its folder.
        changed: when its metrics were last written, in seconds since 1970; 0 without metrics.
    """

    id: str
    name: str
    path: Path
    changed: float

    @property
    def checkpoints(self) -> list[int]:
        """Steps that have a checkpoint, in order."""
        folder = self.path / "checkpoints"
        if not folder.is_dir():
            return []
        return sorted(int(each.name) for each in folder.iterdir() if each.name.isdecimal())


@dataclass(frozen=True)
class Evaluation:
    """A folder with `results.json`.

    Attributes:
        id: names it in addresses.
        name: its run and step, as people tell it from others.
        path: its folder.
        results: what it found, or None where that cannot be read.
        problem: why it cannot be read, or "".
    """

    id: str
    name: str
    path: Path
    results: EvaluationResults | None
    problem: str = ""

    def task(self, name: str) -> TaskResult | None:
        """The result of a task, or None."""
        tasks = self.results.tasks if self.results else ()
        return next((task for task in tasks if task.task == name), None)

    def predictions(self, task: str) -> Path | None:
        """The file of a task's predictions; None where there is none within this folder."""
        path = predictions_path(self.path, task)
        inside = path.parent == self.path / "predictions" and path.suffix == ".jsonl"
        return path if inside and path.is_file() else None


class Catalogue:
    """What lies below some folders; looked for again when it is asked for some seconds later."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._lock = threading.Lock()
        self._looked = -_FRESH_SECONDS
        self._runs: dict[str, Run] = {}
        self._evaluations: dict[str, Evaluation] = {}
        self._read: dict[Path, tuple[tuple[int, int], Evaluation]] = {}
        self.cut_short = False

    def runs(self) -> dict[str, Run]:
        """Runs by id, by name in order."""
        self._look()
        return self._runs

    def evaluations(self) -> dict[str, Evaluation]:
        """Evaluations by id, by name in order."""
        self._look()
        return self._evaluations

    def evaluations_of(self, run: Run) -> list[Evaluation]:
        """Those that lie in a run's folder."""
        return [each for each in self.evaluations().values() if run.path in each.path.parents]

    def _look(self) -> None:
        with self._lock:
            if time.monotonic() - self._looked < _FRESH_SECONDS:
                return
            runs, evaluations = [], []
            folders = 0
            for root in self.roots:
                for path, files in _folders(root):
                    folders += 1
                    if folders > _MAX_FOLDERS:
                        break
                    if METRICS in files or "model.json" in files:
                        runs.append(_run(root, path))
                    if FILE_NAME in files and (found := self._evaluation(root, path)):
                        evaluations.append(found)
            self.cut_short = folders > _MAX_FOLDERS
            self._runs = {each.id: each for each in sorted(runs, key=lambda each: each.name)}
            ordered = sorted(evaluations, key=lambda each: _natural(each.name))
            self._evaluations = {each.id: each for each in ordered}
            self._looked = time.monotonic()

    def _evaluation(self, root: Path, path: Path) -> Evaluation | None:
        file = path / FILE_NAME
        try:
            status = file.stat()
            stamp = (status.st_size, status.st_mtime_ns)
            if file in self._read and self._read[file][0] == stamp:
                return self._read[file][1]
            if not _is_evaluation(file):
                return None
        except OSError:
            return None
        name = _name(root, path)
        try:
            found = Evaluation(_id(path), name, path, read_results(file))
        except InputError as error:
            found = Evaluation(_id(path), name, path, None, str(error))
        self._read[file] = (stamp, found)
        return found


def _folders(root: Path) -> Iterator[tuple[Path, set[str]]]:
    """Folders at and below a root, with the names of their files; links are not followed."""
    for folder, below, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        kept = sorted(each for each in below if each not in _SKIPPED and not each.startswith("."))
        below[:] = kept if depth < _MAX_DEPTH else []
        yield Path(folder), set(files)


def _is_evaluation(file: Path) -> bool:
    """Whether a `results.json` is of an evaluation; audits write files of that name, too."""
    with file.open("rb") as opened:
        start = opened.read(1 << 20)
    if b'"tasks"' in start and b'"model_dir"' in start:
        return True
    try:
        return "instrux.results" in str(json.loads(start).get("schema"))
    except (ValueError, AttributeError):
        return False


def _run(root: Path, path: Path) -> Run:
    try:
        changed = (path / METRICS).stat().st_mtime
    except OSError:
        changed = 0.0
    return Run(_id(path), _name(root, path), path, changed)


def _name(root: Path, path: Path) -> str:
    below = path.relative_to(root).as_posix()
    return root.resolve().name if below == "." else below


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key under which step 900 comes before step 1000."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in name.replace("-", "/").replace("_", "/").split("/")
    ]


def _id(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:12]
