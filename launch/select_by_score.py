"""The stage `select_by_score`: a scorer judges what each checkpoint writes, and the best is noted.

Validation loss has no say. InstructGPT's rose after one epoch, while its reward model and people went
on to prefer later ones (arXiv 2203.02155, section 3.5); both curves are kept for the report.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instrux.data.selected_step import FILE_NAME, SelectedStep, write_selected
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.evaluation.checkpoint_choice import best_step
from instrux.evaluation.completion_scores import (
    RougeLToDemonstration,
    find_scorer,
    score_all,
    scorer_name,
)
from instrux.evaluation.predictions import Prediction, predictions_path, read_predictions
from instrux.progress import tell
from instrux.training.mesh import MeshShape
from launch.evaluate import evaluate
from launch.reading import find_run
from launch.select_checkpoint import SelectResult, steps_to_compare, write_selection_lineage


def select_by_score(
    *,
    model_dir: str,
    data_dir: str,
    tasks: Sequence[str],
    scorer: Any = RougeLToDemonstration,
    split: str = "validation",
    steps: Sequence[int] | None = None,
    steps_per_epoch: int | None = None,
    max_examples: int | None = None,
    batch_size: int = 32,
    inputs_length: int | None = None,
    max_decode_length: int | None = None,
    name: str = "epochs",
    vocabulary: VocabularySpec | str | None = None,
    mesh: MeshShape | None = None,
    compile_cache: str | bool = True,
) -> SelectResult:
    """Writes answers with every checkpoint, scores them, and notes the checkpoint that scores best.

    `step = "selected"` stands for it then. A checkpoint whose answers are there already writes
    none again; they are scored again.

    Args:
        model_dir: the run's folder.
        data_dir: folder that holds `rendered/`.
        tasks: rendered tasks whose prompts are answered.
        scorer: a function `score(prompt, completion)`, or what `completion_scores` says besides,
            or its name as `acme.reward:score`.
        split: the split whose prompts are answered.
        steps: the checkpoints to compare; all that the run keeps where None.
        steps_per_epoch: to show epochs in place of steps.
        max_examples: prompts a task at most.
        batch_size: prompts a batch, over all devices.
        inputs_length: longer prompts are cut; the run's own length where None.
        max_decode_length: longest answer in tokens; the run's own length of targets where None.
        name: the folder under `model_dir` that gets each step's answers.
        vocabulary: to be sure of it: an error unless it is the run's own.
        mesh: sizes of the mesh's axes.
        compile_cache: False for none, True for the cache folder, or a folder.

    Raises:
        InputError: no such run, checkpoint, task or scorer, or a score is no number.
    """
    found = find_scorer(scorer)
    chosen = steps_to_compare(model_dir, steps)
    scores: dict[int, float] = {}
    scored: tuple[str, ...] = ()
    for number, step in enumerate(chosen, start=1):
        tell(f"select_by_score: checkpoint of step {step} ({number} of {len(chosen)})")
        evaluated = evaluate(
            model_dir=model_dir,
            data_dir=data_dir,
            tasks=tasks,
            split=split,
            step=step,
            name=name,
            max_examples=max_examples,
            batch_size=batch_size,
            inputs_length=inputs_length,
            max_decode_length=max_decode_length,
            rank_choices=False,
            vocabulary=vocabulary,
            mesh=mesh,
            compile_cache=compile_cache,
        )
        scored = tuple(task.task for task in evaluated.results.tasks)
        scores[step] = _mean_score(found, evaluated.folder, scored)
    best = best_step(scores)
    selected = SelectedStep(
        step=best,
        checkpoint=find_run(model_dir, step=best, vocabulary=None).fingerprint,
        rule=scorer_name(found),
        score=scores[best],
        scores=scores,
        tasks=scored,
        left_out=(),
        split=split,
        max_examples=max_examples,
        evaluation=name,
        losses=validation_losses(Path(model_dir) / "metrics.jsonl", chosen),
        steps_per_epoch=steps_per_epoch,
    )
    path = Path(model_dir) / FILE_NAME
    written = write_selected(model_dir, selected)
    write_selection_lineage(model_dir, selected)
    _tell(selected, written=written)
    print(path)
    return SelectResult(path, selected, written)


def validation_losses(path: Path, steps: Sequence[int]) -> dict[int, float]:
    """Gives the validation losses that training logged at some steps; none where it logged none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[int, float] = {}
    for line in lines:
        try:
            values = json.loads(line)
            step, loss = values["step"], float(values["eval_loss"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # another kind of line, or one that a kill cut short
        if step in steps:
            found[step] = loss
    return dict(sorted(found.items()))


def _mean_score(scorer: Any, folder: Path, tasks: Sequence[str]) -> float:
    answers: list[Prediction] = []
    for task in tasks:
        answers += read_predictions(predictions_path(folder, task))
    if not answers:
        raise InputError("select_by_score: the tasks have no prompt in this split to answer.")
    if callable(see := getattr(scorer, "see", None)):
        see(_demonstrations(answers))
    prompts = [answer.inputs for answer in answers]
    scores = score_all(scorer, prompts, [answer.prediction for answer in answers])
    return round(float(np.mean(scores)), 6)


def _demonstrations(answers: Sequence[Prediction]) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for answer in answers:
        found.setdefault(answer.inputs, []).append(answer.targets)
    return found


def _tell(selected: SelectedStep, *, written: bool) -> None:
    for step, score in selected.scores.items():
        loss = selected.losses.get(step)
        told = f"  step {step:>9,}  {selected.rule} {score:8.3f}"
        told += "" if loss is None else f"  validation loss {loss:.4f}"
        tell(told + ("  <- selected" if step == selected.step else ""))
    done = "" if written else ": complete, skipped"
    tell(f"select_by_score: step {selected.step} by {selected.rule}{done}")
