"""The runs of a report, read from their folders; what is missing is told, and does no harm."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from instrux.data.packed_manifest import PackManifest, PackSettings, read_manifest
from instrux.data.selected_step import SELECTED, SelectedStep, read_selected, step_number
from instrux.errors import InputError, did_you_mean
from instrux.evaluation.aggregate import Cell, cells
from instrux.evaluation.predictions import (
    Prediction,
    predictions_path,
    read_predictions,
    task_credits,
)
from instrux.evaluation.results import FILE_NAME, EvaluationResults, read_results

INSTRUCTIONS = "instructions"
NO_INSTRUCTIONS = "no instructions"
UNTUNED = "untuned"
PROMPTS_AXIS = "training prompts a task"


@dataclass(frozen=True, kw_only=True)
class RunForReport:
    """A run that a report shows.

    Attributes:
        name: what the report calls it.
        model_dir: its folder, where it was trained and evaluated.
        step: the evaluated step to show; the last one where None, the one that `instrux select`
            chose where `selected`.
        pack_dir: the packed dataset it was trained on, for the mixture's shares, or None.
        pack: in place of `pack_dir`, with `data_dir`: what `instrux pack` was given.
        data_dir: with `pack`, the folder that holds `packed/`.
        num_prompts: how many prompts a task it was trained with, for the ablation, or None.
        axis: what else an ablation varies, in words for an axis, such as `training clusters`; where
            `num_prompts` is given it is the training prompts a task.
        point: where on it the run stands, such as 7; None where it stands nowhere.
        seed: its training seed. Runs that differ in nothing but this are shown as one, with the
            spread over seeds.
        role: `instructions` for what the report is about, `no instructions` for what it is
            compared with, or where there is none `untuned`; anything else is shown beside them.
        evaluation: the evaluation's name: the folder under `model_dir`.
        part_of: name of a sweep over clusters, of which each part was evaluated on what it had not
            seen. The parts with this name and a seed are shown as one run.
        dev: name of another evaluation of the same step, of rows that a template is chosen by, for
            FLAN's table; or None.
        bias: name of another evaluation of the same step, of bias and fairness sets, for the
            section on these alone; or None. They may as well be part of `evaluation`.
    """

    name: str
    model_dir: str
    step: int | str | None = None
    pack_dir: str | None = None
    pack: PackSettings | None = None
    data_dir: str | None = None
    num_prompts: int | None = None
    axis: str = PROMPTS_AXIS
    point: float | None = None
    seed: int | None = None
    role: str = INSTRUCTIONS
    evaluation: str = "eval"
    part_of: str | None = None
    dev: str | None = None
    bias: str | None = None

    @property
    def place(self) -> float | None:
        """Where it stands on what an ablation varies."""
        return self.num_prompts if self.point is None else self.point

    @property
    def pack_folder(self) -> str | None:
        """The packed dataset's folder, however it was named.

        Raises:
            InputError: the pack's vocabulary cannot be read, or `data_dir` is missing.
        """
        if self.pack is None:
            return self.pack_dir
        if self.data_dir is None:
            raise InputError(f"run {self.name!r}: `pack` needs `data_dir` beside it.")
        return str(self.pack.folder(self.data_dir))


@dataclass(frozen=True)
class CurvePoint:
    """One logged step; what was not logged is NaN."""

    step: int
    loss: float
    tokens_per_second: float
    model_flops_utilisation: float
    padding_share: float
    seconds: float


@dataclass(frozen=True)
class EvaluatedRun:
    """A run with what was found in its folder.

    Attributes:
        about: what the caller said of it.
        folder: its evaluation's folder.
        results: what the evaluation found.
        curve: what training logged, in order of step; empty if nothing was found.
        pack: the packed dataset it was trained on, if known.
        pack_folder: where that lies.
        notes: a sentence for everything that was looked for and is missing.
        selected: how its checkpoint was chosen, where `step` is `selected`.
        bias_folder: the folder of the evaluation of bias sets alone, if there is one.
        dev: what the evaluation that templates are chosen by found, if there is one.
        parts: the runs of a sweep that this one stands for; () for a run of its own.
    """

    about: RunForReport
    folder: Path
    results: EvaluationResults
    curve: tuple[CurvePoint, ...]
    pack: PackManifest | None
    pack_folder: str | None
    notes: tuple[str, ...]
    selected: SelectedStep | None = None
    bias_folder: Path | None = None
    dev: EvaluationResults | None = None
    parts: "tuple[EvaluatedRun, ...]" = ()

    @cached_property
    def cells(self) -> dict[tuple[str, str, str], Cell]:
        """(dataset, group, metric) -> the cell; reads the predictions of all tasks."""
        if self.parts:
            return {key: cell for part in self.parts for key, cell in part.cells.items()}
        found = _cells(self.folder, self.results)
        return {(c.dataset, c.group, c.metric): c for c in found}

    @property
    def trained(self) -> "tuple[EvaluatedRun, ...]":
        """The runs that were trained: its parts, or itself."""
        return self.parts or (self,)

    @cached_property
    def bias_cells(self) -> list[Cell]:
        """The cells of the evaluation of bias sets alone."""
        if self.bias_folder is None:
            return []
        return _cells(self.bias_folder, read_results(self.bias_folder / FILE_NAME))

    def predictions(self, task: str) -> Sequence[Prediction]:
        """All predictions of a task."""
        for part in self.parts:
            if any(result.task == task for result in part.results.tasks):
                return part.predictions(task)
        return list(read_predictions(predictions_path(self.folder, task)))


def _cells(folder: Path, results: EvaluationResults) -> list[Cell]:
    credits = {result.task: task_credits(folder, result.task) for result in results.tasks}
    return cells(results.tasks, credits)


def read_run(about: RunForReport) -> EvaluatedRun:
    """Reads a run's results, curves and pack manifest.

    Raises:
        InputError: there are no results; anything else that is missing becomes a note.
    """
    folder = _evaluation_folder(about)
    notes = []
    try:
        curve = read_curve(Path(about.model_dir) / "metrics.jsonl")
    except InputError as error:
        curve = ()
        notes.append(f"{about.name}: no loss and throughput curves ({error})")
    pack = pack_folder = None
    if about.pack_dir is None and about.pack is None:
        notes.append(f"{about.name}: no mixture shares, since no packed dataset was named.")
    else:
        try:
            pack_folder = about.pack_folder
            pack = read_manifest(pack_folder) if pack_folder is not None else None
        except InputError as error:
            notes.append(f"{about.name}: no mixture shares ({error})")
    bias = None if about.bias is None else Path(about.model_dir) / about.bias / folder.name
    if bias is not None and not (bias / FILE_NAME).exists():
        notes.append(f"{about.name}: no evaluation of bias sets ({bias / FILE_NAME} is absent).")
        bias = None
    dev = None
    if about.dev is not None:
        path = Path(about.model_dir) / about.dev / folder.name / FILE_NAME
        if path.exists():
            dev = read_results(path)
        else:
            notes.append(f"{about.name}: no template is chosen, as {path} is absent.")
    return EvaluatedRun(
        about,
        folder,
        read_results(folder / FILE_NAME),
        curve,
        pack,
        pack_folder,
        tuple(notes),
        read_selected(about.model_dir) if about.step == SELECTED else None,
        bias,
        dev,
    )


def joined_sweeps(runs: Sequence[EvaluatedRun]) -> list[EvaluatedRun]:
    """Puts one run in the place of all parts of a sweep, where its first part stands.

    Raises:
        InputError: two parts were evaluated on the same task.
    """
    sweeps: dict[object, list[EvaluatedRun]] = {}
    for number, run in enumerate(runs):
        about = run.about
        key = (about.part_of, about.role, about.axis, about.place, about.seed)
        sweeps.setdefault(number if about.part_of is None else key, []).append(run)
    return [
        members[0] if members[0].about.part_of is None else _joined(members)
        for members in sweeps.values()
    ]


def _joined(parts: Sequence[EvaluatedRun]) -> EvaluatedRun:
    first = parts[0]
    seen: dict[str, str] = {}
    for part in parts:
        for result in part.results.tasks:
            if (other := seen.setdefault(result.task, part.about.name)) != part.about.name:
                raise InputError(
                    f"sweep {first.about.part_of!r}: task {result.task!r} was evaluated for"
                    f" {other!r} and for {part.about.name!r}; every task belongs to one part."
                )
    known = [part.dev for part in parts if part.dev is not None]
    return dataclasses.replace(
        first,
        about=dataclasses.replace(first.about, name=first.about.part_of or ""),
        results=_results_of([part.results for part in parts]),
        curve=(),
        pack=None,
        pack_folder=None,
        notes=tuple(note for part in parts for note in part.notes),
        selected=None,
        dev=_results_of(known) if known else None,
        parts=tuple(parts),
    )


def _results_of(several: Sequence[EvaluationResults]) -> EvaluationResults:
    groups = dict.fromkeys(group for each in several for group in each.groups)
    tasks = tuple(task for each in several for task in each.tasks)
    return dataclasses.replace(several[0], groups=tuple(groups), tasks=tasks, summaries=())


def _evaluation_folder(about: RunForReport) -> Path:
    folder = Path(about.model_dir) / about.evaluation
    steps = _evaluated_steps(folder)
    if not steps:
        raise InputError(
            f"run {about.name!r}: no results under {folder}; `instrux evaluate` on"
            f" {about.model_dir} writes them."
        )
    number = step_number(about.model_dir, about.step)
    step = max(steps) if number is None else number
    if step not in steps:
        raise InputError(
            f"run {about.name!r}: step {step} was not evaluated; there are {sorted(steps)}."
            f"{did_you_mean(str(step), map(str, steps))}"
        )
    return folder / str(step)


def _evaluated_steps(folder: Path) -> list[int]:
    found = folder.glob(f"*/{FILE_NAME}") if folder.is_dir() else []
    return [int(path.parent.name) for path in found if path.parent.name.isdecimal()]


def read_curve(path: Path) -> tuple[CurvePoint, ...]:
    """Reads `metrics.jsonl`; a line cut short by a kill, or of another kind, is left out.

    Raises:
        InputError: the file is absent, unreadable, or holds no logged step.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from error
    points = {point.step: point for line in lines if (point := _point(line)) is not None}
    if not points:
        raise InputError(f"{path}: holds no logged step.")
    return tuple(points[step] for step in sorted(points))


def _point(line: str) -> CurvePoint | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not isinstance(values.get("step"), int):
        return None
    names = (
        "loss",
        "tokens_per_second",
        "model_flops_utilisation",
        "padding_share",
        "seconds",
    )
    return CurvePoint(values["step"], *(_number(values, name) for name in names))


def _number(values: Mapping[str, object], name: str) -> float:
    value = values.get(name)
    return float(value) if isinstance(value, (int, float)) else math.nan
