"""Evaluates a model on rendered tasks: rank classification and generation, restartable by task.

Under the evaluation's folder lie `predictions/<task>.jsonl`, then `tasks/<task>.json` (written
after its predictions, with a digest of all that determined them), and at last `results.json`.
A task whose digest is unchanged is not evaluated again.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instrux.data.files import remove_partial_files
from instrux.data.manifest import library_versions
from instrux.errors import InputError
from instrux.evaluation import aggregate, bootstrap, metrics
from instrux.evaluation.answering import Answered, ReadTask, answer, padding_share, references
from instrux.evaluation.metrics import Metric
from instrux.evaluation.pair_entropy import PAIR_ENTROPY
from instrux.evaluation.predictions import (
    Prediction,
    predictions_path,
    task_credits,
    write_predictions,
)
from instrux.evaluation.reader import Reader
from instrux.evaluation.results import (
    FILE_NAME,
    EvaluationResults,
    TaskResult,
    read_results,
    read_task_result,
    same_results,
    write_results,
)
from instrux.evaluation.selection import EvaluationTask
from instrux.models.decoding_settings import DecodingSettings
from instrux.models.several_processes import is_first, wait_for_all
from instrux.progress import Progress, tell

FORMAT = 1
"""Raised whenever the same settings give other predictions."""

_EXAMPLES_TOGETHER = 2048
"""Tasks share batches until they have so many examples; then their results are written."""
_GREEDY = dataclasses.asdict(DecodingSettings())


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What is evaluated, and how, besides the tasks.

    Attributes:
        model_dir: the run, for the reader's information.
        step: the checkpoint's step.
        checkpoint: a fingerprint of the checkpoint's content.
        reading: `dataclasses.asdict` of the reader's settings.
        split: the split that is evaluated.
        max_examples: examples a task at most; all where None.
        rank_choices: whether answer choices are ranked where there are any; otherwise every
            answer is generated, as FLAN does by default.
    """

    model_dir: str
    step: int
    checkpoint: str
    reading: Mapping[str, Any]
    split: str
    max_examples: int | None = None
    rank_choices: bool = True

    def digest(self, task: EvaluationTask) -> str:
        """Digest of everything that determines a task's predictions."""
        reading = {k: v for k, v in self.reading.items() if k != "batch_size"}
        if reading.get("decoding") == _GREEDY:
            del reading["decoding"]  # as before there was a choice
        if reading.get("stop") is None:
            reading.pop("stop", None)
        elif (reading.get("decoding") or _GREEDY)["num_decodes"] > 1:
            reading["stop_ends_decoding"] = True  # which changes the scores that tell the best
        if reading.get("score_end", True):
            reading.pop("score_end", None)
        of_classes = metrics.OF_CLASSES.intersection(task.about.metrics)
        if of_classes and not task.about.answer_choices:
            reading["of_classes"] = True  # ranked answers once had none of these metrics
        content = {
            **dataclasses.asdict(self),
            "model_dir": "",
            "reading": reading,
            "format": FORMAT,
            "task": task.name,
            "examples": task.about.fingerprint,
            "metrics": task.about.metrics,
        }
        text = json.dumps(content, sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def evaluate_tasks(
    tasks: Sequence[EvaluationTask],
    *,
    open_reader: Callable[[], Reader],
    folder: Path,
    settings: EvaluationSettings,
) -> EvaluationResults:
    """Evaluates the tasks that have not been evaluated yet, and writes `results.json`.

    Of several processes all compute, the first one writes, and all return when it is done.

    Args:
        tasks: what to evaluate.
        open_reader: loads the model; called only if there is something to do.
        folder: the evaluation's folder.
        settings: what determines the predictions.

    Raises:
        InputError: the folder cannot be written; told before the model is loaded where it can be.
    """
    try:
        return _evaluated(tasks, open_reader, folder, settings)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: cannot be used ({error.strerror or error})"
        ) from error


def _evaluated(
    tasks: Sequence[EvaluationTask],
    open_reader: Callable[[], Reader],
    folder: Path,
    settings: EvaluationSettings,
) -> EvaluationResults:
    if is_first():
        for written in (folder, folder / "tasks", folder / "predictions"):
            written.mkdir(parents=True, exist_ok=True)
            remove_partial_files(written)
    wait_for_all(f"evaluate {folder}: looking for what is done")
    done = {task.name: _done(folder, task, settings) for task in tasks}
    to_do = [task for task in tasks if done[task.name] is None]
    if to_do:
        if len(to_do) < len(tasks):
            tell(f"evaluate: {len(tasks) - len(to_do)} of {len(tasks)} tasks are done already")
        done |= _evaluate_all(to_do, open_reader(), folder, settings)
    wait_for_all(f"evaluate {folder}: all tasks are written")
    results = [
        dataclasses.replace(result, group=task.group)
        for task in tasks
        if (result := done[task.name]) is not None
    ]
    finished = _finish(results, folder, settings, groups=[task.group for task in tasks])
    wait_for_all(f"evaluate {folder}: the results are written")
    return finished


def _done(folder: Path, task: EvaluationTask, settings: EvaluationSettings) -> TaskResult | None:
    """The task's result, if it was evaluated with the same settings."""
    if not predictions_path(folder, task.name).exists():
        return None
    try:
        result = read_task_result(_task_path(folder, task.name))
    except InputError:
        return None  # never written, or by another version: evaluated again
    return result if result.settings_digest == settings.digest(task) else None


def _task_path(folder: Path, task: str) -> Path:
    return folder / "tasks" / f"{task}.json"


def _evaluate_all(
    tasks: Sequence[EvaluationTask],
    reader: Reader,
    folder: Path,
    settings: EvaluationSettings,
) -> dict[str, TaskResult]:
    shown = Progress("evaluate", total=sum(t.num_examples for t in tasks), unit="examples")
    done: dict[str, TaskResult] = {}
    for group in _read_together(tasks):
        names = group[0].name if len(group) == 1 else f"{group[0].name} to {group[-1].name}"
        detail = f"{names} ({len(done) + len(group)} of {len(tasks)} tasks)"

        def on_done(count: int, detail: str = detail) -> None:
            shown.update(shown.done + count, detail)

        read = [ReadTask.of(task, reader, rank_choices=settings.rank_choices) for task in group]
        for answered in answer(read, reader, on_done):
            task = answered.read.task
            limit, digest = reader.settings.inputs_length, settings.digest(task)
            done[task.name] = _task_result(answered, limit, digest)
            if is_first():
                write_predictions(predictions_path(folder, task.name), answered.predictions)
                write_results(_task_path(folder, task.name), done[task.name])
    padding = padding_share(reader.positions, reader.tokens)
    told = "" if padding is None else f", {padding:.0%} of the positions computed were padding"
    shown.finish(f"{len(tasks)} tasks{told}")
    return done


def _read_together(tasks: Sequence[EvaluationTask]) -> Iterator[list[EvaluationTask]]:
    """Tasks in groups of some examples: nearly full batches, and little lost by a kill."""
    group: list[EvaluationTask] = []
    for task in tasks:
        group.append(task)
        if sum(one.num_examples for one in group) >= _EXAMPLES_TOGETHER:
            yield group
            group = []
    if group:
        yield group


def evaluate_task(
    task: EvaluationTask, reader: Reader, *, rank_choices: bool = True
) -> tuple[TaskResult, list[Prediction]]:
    """Evaluates one task.

    A task with answer choices is ranked: the prediction is the choice of the highest score, the
    first of equals; it is right if it is the stripped target (or one of the references). An
    example whose target is none of its choices, or that has no choices, is wrong. A task whose
    metric is `pair_entropy` has two sentences as choices, and nothing is right or wrong.
    """
    read = ReadTask.of(task, reader, rank_choices=rank_choices)
    (answered,) = answer([read], reader, lambda count: None)
    return _task_result(answered, reader.settings.inputs_length), answered.predictions


def _task_result(answered: Answered, inputs_length: int, settings_digest: str = "") -> TaskResult:
    read, predictions = answered.read, answered.predictions
    task, headline = read.task, read.metrics[0]
    credits = np.asarray([prediction.credit for prediction in predictions])
    answers = [references(example) for example in read.examples]
    texts = [prediction.prediction for prediction in predictions]
    groups = _groups(read)
    scores = {
        metric.name: metric.score(texts, answers, groups)
        for metric in read.metrics[1:]
        if metric.grouped is None or groups is not None
    }
    scores[headline.name] = float(credits.mean()) if len(credits) else float("nan")
    if read.ranked and headline.right_or_wrong:
        scores |= _classification_metrics(task, predictions, answers)
    choices = [{c.strip() for c in p.choices} for p in predictions if p.choices is not None]
    return TaskResult(
        task=task.name,
        dataset=task.about.dataset,
        template=task.about.template,
        cluster=task.about.cluster,
        group=task.group,
        mode="rank" if read.ranked else "generate",
        metric=headline.name,
        score=scores[headline.name],
        interval=_interval(credits, right_or_wrong=headline.right_or_wrong),
        metrics=scores,
        num_examples=len(read.examples),
        num_without_correct_choice=sum(
            not group & set(answer) for group, answer in zip(choices, answers, strict=False)
        ),
        num_truncated_inputs=sum(len(ids) > inputs_length for ids in read.inputs),
        chance=_chance(headline, predictions) if read.ranked else None,
        majority=_majority(headline, answers),
        original_task=task.about.original_task,
        settings_digest=settings_digest,
        seconds=answered.seconds,
        num_rendered=task.about.examples,
        padding_share=answered.padding_share,
    )


def _groups(read: ReadTask) -> list[str] | None:
    """The group of each example; None where one has none, or a sample may have cut groups apart."""
    found = [example.group for example in read.examples if example.group is not None]
    whole = len(found) == len(read.examples) == read.task.about.examples
    return found if whole else None


def _interval(credits: np.ndarray, *, right_or_wrong: bool):
    if right_or_wrong:
        return bootstrap.wilson(int((credits == 100.0).sum()), len(credits))
    return bootstrap.normal_interval(credits)


def _chance(headline: Metric, predictions: Sequence[Prediction]) -> float:
    """Mean of 1 / number of choices in percent; the whole bit of no preference under entropy."""
    if headline is PAIR_ENTROPY:
        return 100.0
    shares = [100.0 / len(p.choices) if p.choices else 0.0 for p in predictions]
    return float(np.mean(shares)) if shares else float("nan")


def _majority(headline: Metric, answers: Sequence[tuple[str, ...]]) -> float:
    """The headline metric of always answering with the most frequent target."""
    if not answers or headline is PAIR_ENTROPY:
        return float("nan")
    most_frequent, _ = Counter(answer[0] for answer in answers).most_common(1)[0]
    return headline.score([most_frequent] * len(answers), answers)


def _classification_metrics(
    task: EvaluationTask, predictions: Sequence[Prediction], answers: Sequence[tuple[str, ...]]
) -> dict[str, float]:
    """Macro F1 where the classes are fixed, and the area under the curve where they are two."""
    classes = task.about.answer_choices
    if not classes:
        return {}
    found = {
        "f1_macro": metrics.METRICS["f1_macro"].score([p.prediction for p in predictions], answers)
    }
    if len(classes) == 2 and all(p.scores is not None and len(p.scores) == 2 for p in predictions):
        found["auc"] = metrics.area_under_curve(
            [p.scores[1] - p.scores[0] for p in predictions if p.scores is not None],
            [classes[1].strip() in answer for answer in answers],
        )
    return found


def _finish(
    results: Sequence[TaskResult],
    folder: Path,
    settings: EvaluationSettings,
    *,
    groups: Sequence[str],
) -> EvaluationResults:
    """Aggregates, and writes `results.json` unless it says the same already."""
    results, credits = with_dataset_labels(results, folder)
    made = EvaluationResults(
        model_dir=settings.model_dir,
        step=settings.step,
        settings=dataclasses.asdict(settings),
        versions=library_versions("jax", "numpy", "rouge-score", "sacrebleu"),
        groups=tuple(dict.fromkeys(groups)),
        tasks=tuple(results),
        summaries=tuple(aggregate.summaries(aggregate.cells(results, credits))),
    )
    path = folder / FILE_NAME
    try:
        unchanged = same_results(read_results(path), made)
    except InputError:  # absent, or of another version
        unchanged = False
    if unchanged:
        tell(f"evaluate: {path}: complete, skipped")
    elif is_first():
        write_results(path, made)
    return made


def with_dataset_labels(
    results: Sequence[TaskResult], folder: Path
) -> tuple[list[TaskResult], dict[str, list[tuple[str, float]]]]:
    """Reads the tasks' credits, and labels the results' datasets by the examples' ids."""
    credits = {result.task: task_credits(folder, result.task) for result in results}
    labels = aggregate.dataset_labels(
        {task: pairs[0][0] for task, pairs in credits.items() if pairs}
    )
    return [dataclasses.replace(r, dataset=labels.get(r.task, r.dataset)) for r in results], credits
