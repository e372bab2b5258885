"""Every stage on a small example: what it reads, what it writes, and what of that must be the same.

python -m tests.faults.harness.stages NAME FOLDER     runs one, for those who kill it
"""

import atexit
import contextlib
import functools
import hashlib
import importlib.util
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrux.data.audit_settings import AuditSettings, AuditTask
from instrux.data.demonstration_formats import DemonstrationInput
from instrux.data.demonstration_settings import DemonstrationSettings
from instrux.training.checkpoints import all_steps
from instrux.training.metrics_log import read_metrics
from pipelines.audit import audit
from pipelines.demonstrations import demonstrations
from pipelines.export import ExportSettings, ExportTask, export
from pipelines.pack import pack
from pipelines.render import render
from pipelines.vocab import vocab
from tests.faults.harness import damage
from tests.faults.harness.trials import quiet

TRAIN_STEPS = 60
RENDERED, MODEL = "rendered", "model"
_WRITTEN = "demonstrations.jsonl"


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes:
        name: the command's.
        run: runs it in a folder.
        outputs: the folders that it writes, below that one.
        after: the stages whose output it reads.
        reads: what must be there before, below the folder.
        content: what it made in one of them, to be compared.
        costly: whether it takes seconds.
        kill_within: seconds from its start in which it is killed.
        is_ours: whether its outputs are of our formats, which say whether they are whole.
    """

    name: str
    run: Callable[[Path, Sequence[str]], object]
    outputs: tuple[str, ...]
    after: tuple[str, ...]
    reads: tuple[str, ...]
    content: Callable[[Path], Any]
    costly: bool = False
    kill_within: float = 3
    is_ours: bool = True

    def prepare(self, folder: Path) -> None:
        """Puts what it reads into a folder."""
        _given(folder)
        for name in self.reads:
            shutil.copytree(_sound(self.name) / name, folder / name, dirs_exist_ok=True)
        for name in self.outputs:
            shutil.rmtree(folder / name, ignore_errors=True)

    def made(self, folder: Path) -> dict[str, Any]:
        """What it made in a folder, by output."""
        return {name: self.content(folder / name) for name in self.outputs}

    def undisturbed(self) -> dict[str, Any]:
        """What it makes if it is left alone."""
        return _undisturbed(self.name)


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="instrux-stages-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _given(folder)
    return folder


def _given(folder: Path) -> None:
    """Writes what no stage makes: rows and templates, and demonstrations."""
    damage._task(folder)
    lines = [
        {"id": f"d{n}", "prompt": f"Question {n}?", "completion": f"{n}.", "user_id": f"u{n % 9}"}
        for n in range(60)
    ]
    (folder / _WRITTEN).write_text("".join(json.dumps(line) + "\n" for line in lines))


@functools.cache
def _sound(name: str) -> Path:
    """A folder in which a stage has run, and those before it."""
    stage = by_name(name)
    for earlier in stage.after:
        _sound(earlier)
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        stage.run(_folder(), ())
    return _folder()


@functools.cache
def _undisturbed(name: str) -> dict[str, Any]:
    return by_name(name).made(_sound(name))


def sound(stages: Sequence[Stage]) -> None:
    """Runs stages undisturbed, before the time of a trial counts."""
    for stage in stages:
        _undisturbed(stage.name)


def by_name(name: str) -> Stage:
    """The stage of that name."""
    return next(stage for stage in STAGES if stage.name == name)


# --- What they run ---------------------------------------------------------------------------------


def _render(folder: Path, beam_args: Sequence[str]) -> None:
    render(tasks=[damage._task(folder)], data_dir=folder, num_shards=2, beam_args=beam_args)


def _pack(folder: Path, beam_args: Sequence[str]) -> None:
    rates = {damage.TASK: 1.0}
    pack(damage.packed_settings(), data_dir=folder, rates=rates, beam_args=beam_args)


def _cache(folder: Path, beam_args: Sequence[str]) -> None:
    damage.cached(folder, beam_args)


def _audit(folder: Path, beam_args: Sequence[str]) -> None:
    task = AuditTask(name=damage.TASK, rendered=damage.TASK, rate=1.0, dataset="harness")
    settings = AuditSettings(
        mixture="toy", vocabulary=damage.BYTES, overlap_sizes=(3,), held_out_splits=("train",)
    )
    audit(settings, data_dir=folder, tasks=[task], held_out=[damage.TASK], beam_args=beam_args)


def _vocab(folder: Path, beam_args: Sequence[str]) -> None:
    vocab(tasks=[damage.TASK], data_dir=folder, size=40, name="toy")


def _export(folder: Path, beam_args: Sequence[str]) -> None:
    task = ExportTask(name=damage.TASK, rendered=damage.TASK, rate=1.0, dataset="harness")
    export(ExportSettings(mixture="toy", format="jsonl"), data_dir=folder, tasks=[task])


def _demonstrations(folder: Path, beam_args: Sequence[str]) -> None:
    given = DemonstrationInput.parse(f"instrux={folder / _WRITTEN}")
    settings = DemonstrationSettings(inputs=(given,), name="toy", vocabulary=damage.BYTES)
    demonstrations(settings, data_dir=folder, beam_args=beam_args)


def _save(folder: Path, beam_args: Sequence[str]) -> None:
    model = folder / MODEL
    if all_steps(model):  # as its users must, since it overwrites no checkpoint
        shutil.rmtree(model)
    damage.make_parameters(model)


def _convert(folder: Path, beam_args: Sequence[str]) -> None:
    from launch.convert import convert

    out = folder / "converted"
    if out.is_dir() and not out.is_symlink():  # as its users must, since it overwrites nothing
        shutil.rmtree(out)
    convert(("instrux", str(folder / MODEL)), ("hf", str(out)))


@functools.cache
def _tiny_run() -> Any:
    path = Path(__file__).parents[2] / "instrux" / "training" / "tiny_run.py"
    spec = importlib.util.spec_from_file_location("tiny_run", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def _tiny_data() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="instrux-stages-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _tiny_run().write_packed_set(folder)
    return folder


def _train(folder: Path, beam_args: Sequence[str]) -> None:
    tiny = _tiny_run()
    tiny.train_tiny(
        folder / "trained",
        _tiny_data(),
        train_steps=TRAIN_STEPS,
        checkpoint_every_steps=10,
        compile_cache=False,
    )


def _evaluate(folder: Path, beam_args: Sequence[str]) -> None:
    from launch.evaluate import evaluate

    with contextlib.redirect_stdout(io.StringIO()):
        evaluate(
            model_dir=str(folder / "model"),
            data_dir=str(folder),
            tasks=(damage.TASK,),
            split="train",
            batch_size=40,
            compile_cache=False,
        )


def _report(folder: Path, beam_args: Sequence[str]) -> None:
    from launch.report import RunForReport, report

    run = RunForReport(name="a run", model_dir=str(folder / "model"))
    with contextlib.redirect_stdout(io.StringIO()):
        report(runs=[run], out=str(folder / "page"))


# --- What they made --------------------------------------------------------------------------------


def _digests(folder: Path) -> dict[str, str]:
    """All files but manifests, which tell times."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("manifest")
    }


def _weights(folder: Path) -> dict[str, str]:
    """A card and a lineage name folders."""
    return {name: digest for name, digest in _digests(folder).items() if name in _HUGGING_FACE}


def _of_export(folder: Path) -> dict[str, str]:
    (only,) = folder.iterdir()
    return _digests(only)


def _losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(folder)]


def _predictions(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.jsonl")
    }
    (results,) = folder.rglob("results.json")
    found["tasks"] = [
        {key: value for key, value in task.items() if key != "seconds"}
        for task in json.loads(results.read_text())["tasks"]
    ]
    return found


def _names(folder: Path) -> list[str]:
    """A page names folders and times, so that its files' names must do."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _parameters(folder: Path) -> Any:
    return damage.read_parameters(folder)


_HUGGING_FACE = ("config.json", "model.safetensors")
STAGES = (
    Stage("render", _render, (RENDERED,), (), (), _digests),
    Stage("cache", _cache, ("cache",), ("render",), (RENDERED,), _digests),
    Stage("pack", _pack, ("packed",), ("render",), (RENDERED,), _digests),
    Stage("audit", _audit, ("audit",), ("render",), (RENDERED,), _digests),
    Stage("vocab", _vocab, ("vocab",), ("render",), (RENDERED,), _digests),
    Stage("export", _export, ("exported",), ("render",), (RENDERED,), _of_export),
    Stage(
        "demonstrations",
        _demonstrations,
        ("demonstrations", "rendered/demonstrations_toy"),
        (),
        (),
        _digests,
        kill_within=0.6,
    ),
    Stage("save", _save, (MODEL,), (), (), _parameters),
    Stage(
        "convert",
        _convert,
        ("converted",),
        ("save",),
        (MODEL,),
        _weights,
        kill_within=0.6,
        is_ours=False,
    ),
    Stage("train", _train, ("trained",), (), (), _losses, costly=True, kill_within=12),
    Stage(
        "evaluate",
        _evaluate,
        ("model/eval",),
        ("render", "save"),
        (RENDERED, MODEL),
        _predictions,
        costly=True,
        kill_within=12,
    ),
    Stage(
        "report",
        _report,
        ("page",),
        ("evaluate",),
        (RENDERED, MODEL),
        _names,
        costly=True,
        kill_within=12,
    ),
)


if __name__ == "__main__":
    named, place, *given = sys.argv[1:]
    chosen = by_name(named)
    print("ready", flush=True)
    chosen.run(Path(place), given)
