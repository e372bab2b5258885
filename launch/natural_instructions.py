"""The stages `score` and `scaling`, and `instrux score`: Natural Instructions' own scores."""

import argparse
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from instrux.data.files import write_atomically, write_json_atomically
from instrux.data.lineage_files import (
    Source,
    beside,
    evaluation_source,
    file_source,
    write_lineage,
)
from instrux.data.natural_instructions_files import DATASET, task_files
from instrux.data.natural_instructions_release import DEFAULT_RELEASE, fetch_natural_instructions
from instrux.data.natural_instructions_splits import release_facts
from instrux.data.sources_natural_instructions import NaturalInstructionsSource
from instrux.errors import InputError
from instrux.evaluation import natural_instructions as scoring
from instrux.evaluation.natural_instructions import NaturalInstructionsScores, ScoredInstance
from instrux.evaluation.natural_instructions_baselines import BASELINES, baseline_predictions
from instrux.evaluation.natural_instructions_instances import answered_instances
from instrux.evaluation.predictions import read_predictions
from instrux.evaluation.published_tk_instruct import results_table
from instrux.evaluation.tk_instruct_scaling import Axis, ScalingPoint, published_points
from instrux.evaluation.tk_instruct_scaling import scaling as draw_scaling
from instrux.progress import tell
from instrux.prompts.natural_instructions import load_task
from instrux.prompts.natural_instructions_checks import check_task

RELEASED_FILE = "predicted_examples.jsonl"
SCORES_FILE = "natural_instructions.json"
_NARROWEST = 110


def fetch(
    version: str | None = None, *, source: str | None = None, sha256: str | None = None
) -> Path:
    """Fetches a release, reads every task file once, and tells what is wrong with which.

    Args:
        version: its tag; the newest that is known if None.
        source: an archive on this machine in place of the download.
        sha256: what the archive's digest must be.

    Returns:
        The release's folder.
    """
    folder = fetch_natural_instructions(version or DEFAULT_RELEASE, source=source, sha256=sha256)
    facts = release_facts(folder)
    categories = {fact.category for fact in facts}
    english = sum(fact.is_english for fact in facts)
    tell(f"{len(facts):,} tasks of {len(categories)} categories, {english:,} of them English")
    return folder


def check(place: str) -> int:
    """Tells on stdout every rule that a task file of a place breaks, and gives their number.

    Args:
        place: a checkout, an archive, a folder or one task file.
    """
    found = 0
    files = task_files(place)
    for path in files:
        try:
            problems = check_task(load_task(path))
        except InputError as error:
            problems = [str(error)]
        for problem in problems:
            print(problem)
        found += len(problems)
    tell(f"{len(files):,} task files, {found:,} things to look at")
    return found


def score_command(options: argparse.Namespace) -> NaturalInstructionsScores:
    """Scores what the command's options name."""
    shared: dict[str, Any] = {"track": options.track, "gpt2_merges": options.gpt2_merges}
    if options.evaluation is not None:
        mirror = (options.place,) if options.place else ()
        return score(evaluation=options.evaluation, mirror=mirror, **shared)
    if options.baseline is not None:
        if not options.place:
            raise InputError("a baseline answers from task files: name them by --place")
        return score_baseline(
            baseline=options.baseline, place=options.place, out=options.out, **shared
        )
    if options.references is not None and options.place:
        raise InputError("give the references by --references or by --place, not both")
    return score_files(
        predictions=options.predictions,
        references=options.references,
        place=options.place,
        out=options.out,
        **shared,
    )


def score(
    *,
    evaluation: str,
    mirror: Sequence[str] = (),
    track: str = "default",
    gpt2_merges: str | None = None,
) -> NaturalInstructionsScores:
    """Scores an evaluation of Natural Instructions tasks as released, and prints a table.

    Writes `predicted_examples.jsonl`, which the authors' own script reads, and
    `natural_instructions.json` beside the evaluation's results.

    Args:
        evaluation: `<model_dir>/eval`, whose newest step is taken, or the folder of one step.
        mirror: places of the task files, looked into first.
        track: of the tasks.
        gpt2_merges: GPT-2's `merges.txt` for the cross-lingual track.

    Raises:
        InputError: there is no such evaluation, or none of Natural Instructions tasks in it.
    """
    if mirror:
        os.environ["INSTRUX_MIRROR"] = os.pathsep.join(mirror)
    folder = _step_folder(Path(evaluation))
    pairs = list(_predicted_rows(folder))
    if not pairs:
        raise InputError(f"{folder}: no predictions of Natural Instructions tasks in it.")
    scoring.write_released_predictions(folder / RELEASED_FILE, pairs)
    instances = scoring.read_released_predictions(folder / RELEASED_FILE, track=track)
    scores = _finish(instances, folder / SCORES_FILE, gpt2_merges=gpt2_merges)
    _write_lineage(
        [folder / SCORES_FILE, folder / RELEASED_FILE],
        [evaluation_source("/".join(folder.absolute().parts[-3:]), folder)],
        {"track": track},
    )
    return scores


def _write_lineage(
    files: Sequence[Path], sources: Sequence[Source], arguments: Mapping[str, Any]
) -> None:
    """Writes what scores were made from beside the first of their files."""
    write_lineage(
        beside(files[0]),
        "scores",
        files=files,
        sources=sources,
        arguments={name: value for name, value in arguments.items() if value is not None},
        packages=("numpy", "rouge-score"),
    )


def scaling(*, axis: Axis, points: Mapping[float, str], out: str) -> Path:
    """Draws a scaling plot of runs that were scored, beside the paper's points.

    Writes `scaling_<axis>.png` and `.json` into `out`, and tells where on stdout.

    Args:
        axis: `tasks`, `instances` or `parameters`.
        points: number of tasks, of instances a task or of parameters -> that run's evaluation.
        out: folder to write.

    Raises:
        InputError: a run was not scored, or there is no such axis.
    """
    own = [
        ScalingPoint(value, _scored_rouge_l(Path(folder)))
        for value, folder in sorted(points.items())
    ]
    drawing = draw_scaling(axis, own)
    picture = Path(out) / f"{drawing.name}.png"
    write_atomically(picture, [drawing.png])
    write_json_atomically(
        picture.with_suffix(".json"),
        {
            "axis": axis,
            "here": [dataclasses.asdict(point) for point in own],
            "published": [dataclasses.asdict(point) for point in published_points(axis)],
        },
    )
    write_lineage(
        beside(picture),
        "report",
        files=[picture, picture.with_suffix(".json")],
        sources=[
            evaluation_source(f"{axis} {value:g}", _step_folder(Path(folder)))
            for value, folder in sorted(points.items())
        ],
        arguments={"axis": axis},
        packages=("numpy", "matplotlib"),
    )
    print(picture)
    return picture


def _scored_rouge_l(evaluation: Path) -> float:
    path = _step_folder(evaluation) / SCORES_FILE
    try:
        return float(json.loads(path.read_bytes())["tracks"][0]["rougeL"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{path}: no scores there ({error}); the stage `score` writes them."
        ) from error


def score_files(
    *,
    predictions: str,
    references: str | None = None,
    place: str = "",
    track: str = "default",
    gpt2_merges: str | None = None,
    out: str | None = None,
) -> NaturalInstructionsScores:
    """Scores a file of predictions: the released format, or lines of ids and predictions.

    Args:
        predictions: `predicted_examples.jsonl`; or, with references or a place, lines of `id` and
            `prediction`.
        references: the leaderboard's file of references, which says each instance's track.
        place: task files that have the references.
        track: of the released format and of the task files.
        gpt2_merges: GPT-2's `merges.txt` for the cross-lingual track.
        out: file that gets all scores.
    """
    missing: Sequence[str] = ()
    if references is not None:
        instances, missing = scoring.read_leaderboard(predictions, references)
    elif place:
        instances, missing = answered_instances(
            predictions, place, track=track, other_names=_other_names()
        )
    else:
        instances = scoring.read_released_predictions(predictions, track=track)
    scores = _finish(instances, out, missing=missing, gpt2_merges=gpt2_merges)
    if out is not None:
        files = [predictions] if references is None else [predictions, references]
        tasks = [Source(kind="dataset", name=place)] if place else []
        _write_lineage(
            [Path(out)], [*(file_source(path) for path in files), *tasks], {"track": track}
        )
    return scores


def score_baseline(
    *,
    baseline: str,
    place: str,
    track: str = "default",
    gpt2_merges: str | None = None,
    out: str | None = None,
) -> NaturalInstructionsScores:
    """Scores a heuristic, `copy_demo` or `copy_input`, on the test instances of a place's tasks."""
    if baseline not in BASELINES:
        raise InputError(f"no baseline {baseline!r}; there are {', '.join(BASELINES)}")
    instances = list(baseline_predictions(baseline, place, track=track))
    scores = _finish(instances, out, gpt2_merges=gpt2_merges)
    if out is not None:
        said = {"baseline": baseline, "track": track}
        _write_lineage([Path(out)], [Source(kind="dataset", name=place)], said)
    return scores


def _finish(
    instances: Sequence[ScoredInstance],
    out: str | Path | None,
    *,
    missing: Sequence[str] = (),
    gpt2_merges: str | None,
) -> NaturalInstructionsScores:
    scores = scoring.score(instances, missing=missing, gpt2_merges=gpt2_merges)
    if out is not None:
        scoring.write_scores(out, scores)
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _NARROWEST)  # a log file has no width of its own
    for track in scores.tracks:
        console.print(_table(scores, track.name))
    if out is not None:
        console.print(str(out), markup=False)
    return scores


def _table(scores: NaturalInstructionsScores, track: str) -> Table:
    table = Table(box=SIMPLE, title=f"Natural Instructions, track {track}", title_justify="left")
    for heading in ("", "tasks", "instances", "ROUGE-L", "exact match", "reported"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for each in (scores.track(track), *scores.categories[track]):
        table.add_row(
            f"all of {track}" if each.name == track else each.name or "(no category)",
            str(each.tasks),
            f"{each.instances:,}",
            f"{each.rougeL:.2f}",
            f"{each.exact_match:.2f}",
            "ROUGE-L" if each.metric == "rougeL" else "exact match",
        )
    table.add_section()
    for row in results_table(track):
        table.add_row(f"published: {row.system}", "", "", f"{row.value:.2f}", "", row.source)
    return table


def _other_names() -> dict[str, str]:
    """The other name of every task that has two, by either."""
    from tasks.natural_instructions_table import table

    pairs = [(row.name, row.other_name) for row in table() if row.other_name]
    return dict(pairs) | {other: name for name, other in pairs}


def _step_folder(path: Path) -> Path:
    if (path / "predictions").is_dir():
        return path
    steps = [each for each in path.iterdir() if each.name.isdigit()] if path.is_dir() else []
    if not steps:
        raise InputError(f"{path}: no evaluation there; `instrux evaluate` makes one.")
    return max(steps, key=lambda each: int(each.name))


def _predicted_rows(folder: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Rows of the task files with what was predicted for each, task after task."""
    for path in sorted((folder / "predictions").glob("*.jsonl")):
        said: dict[tuple[str, str], dict[int, str]] = {}
        for prediction in read_predictions(path):
            dataset, _, rest = prediction.example_id.partition("/")
            if dataset == DATASET:
                task, split, row = rest.rsplit("/", 2)
                said.setdefault((task, split), {})[int(row)] = prediction.prediction
        for (task, split), of_row in said.items():
            for number, row in _source(task).rows(split):
                if number in of_row:
                    yield row, of_row[number]


def _source(task: str) -> NaturalInstructionsSource:
    from tasks.natural_instructions_table import by_name

    row = by_name().get(task)
    others = (row.other_name,) if row is not None and row.other_name else ()
    return NaturalInstructionsSource(DATASET, task, other_names=others)
