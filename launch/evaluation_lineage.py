"""What an evaluation was made from: `lineage.json` in its folder."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from instrux.data.lineage_files import FILE_NAME as LINEAGE_NAME
from instrux.data.lineage_files import Source, write_lineage
from instrux.evaluation.evaluate import EvaluationSettings
from instrux.evaluation.predictions import predictions_path
from instrux.evaluation.results import FILE_NAME
from instrux.evaluation.selection import EvaluationTask
from launch.reading import RunToRead


def write(
    folder: Path,
    run: RunToRead,
    tasks: Sequence[EvaluationTask],
    settings: EvaluationSettings,
    data_dir: str,
) -> None:
    """Writes it, for `instrux show` and `instrux verify`.

    Args:
        folder: the evaluation's.
        run: what was evaluated.
        tasks: on what.
        settings: how.
        data_dir: the folder that holds `rendered/`.
    """
    is_ours = run.weights is None
    sources = [
        Source(
            kind="run" if is_ours else "checkpoint",
            name=f"{settings.model_dir if is_ours else settings.checkpoint}, step {run.step}",
            path=settings.model_dir if is_ours else settings.checkpoint or "",
        )
    ]
    sources += [
        Source(
            kind="rendered",
            name=task.name,
            split=settings.split,
            fingerprint=task.about.fingerprint,
            path=str(Path(data_dir) / "rendered" / task.name),
        )
        for task in tasks
    ]
    names = {task.name for task in tasks}
    files = [folder / FILE_NAME]
    files += [folder / "tasks" / f"{name}.json" for name in names]
    files += [predictions_path(folder, name) for name in names]
    write_lineage(
        folder / LINEAGE_NAME,
        "evaluation",
        files=files,
        sources=sources,
        arguments={"data_dir": data_dir, **dataclasses.asdict(settings)},
        packages=("jax", "numpy", "rouge-score", "sacrebleu"),
        counts={"tasks": len(tasks), "examples": sum(task.num_examples for task in tasks)},
    )
