"""What scorers and judges say of a model's answers, kept beside its predictions.

`<evaluation>/output_scores/<task>.<scorer>.jsonl` has a line an answer, written as it is scored, so that
a scorer that takes hours goes on where it was killed; `<evaluation>/output_scores.json` sums up.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instrux.data.files import write_atomically
from instrux.errors import InputError
from instrux.evaluation import bootstrap
from instrux.evaluation.completion_scores import score_all, scorer_name
from instrux.evaluation.predictions import predictions_path, read_predictions
from instrux.progress import Progress

SUMMARY_NAME = "output_scores.json"
THRESHOLD = 0.5
"""A judge says yes from here on (arXiv 2203.02155, appendix D)."""
_AT_ONCE = 64


@dataclass(frozen=True)
class OutputScore:
    """Scores of one task's answers by one scorer.

    Attributes:
        task: the task.
        scorer: its name here, such as `toxicity`, `true`, `informative`, or several joined by ` and `.
        by: what it is.
        mean: of the scores.
        low: end of the mean's 95 % interval.
        high: the other.
        share: of answers whose score is at least `THRESHOLD`.
        count: answers.
    """

    task: str
    scorer: str
    by: str
    mean: float
    low: float
    high: float
    share: float
    count: int


def score_outputs(
    folder: Path, tasks: Sequence[str], scorers: Mapping[str, Any]
) -> list[OutputScore]:
    """Scores the answers to some tasks, and writes the summary with what was scored before.

    Where there are several scorers, the answers that all say yes to are counted, too: true and
    informative, for TruthfulQA.

    Args:
        folder: of the evaluation: `<model_dir>/<name>/<step>`.
        tasks: names of evaluated tasks.
        scorers: name here -> scorer.

    Raises:
        InputError: an evaluation is absent, or a scorer fails.
    """
    found = {(each.task, each.scorer): each for each in read_output_scores(folder)}
    for task in tasks:
        by_scorer = {name: _scores(folder, task, name, s) for name, s in scorers.items()}
        for name, scores in by_scorer.items():
            found[task, name] = _summary(task, name, scorer_name(scorers[name]), scores)
        if len(by_scorer) > 1:
            joint = np.min([*by_scorer.values()], axis=0)
            name = " and ".join(by_scorer)
            found[task, name] = _summary(task, name, "the least of them", joint.tolist())
    text = json.dumps([asdict(each) for each in found.values()], indent=2) + "\n"
    write_atomically(folder / SUMMARY_NAME, [text.encode()])
    return [each for each in found.values() if each.task in tasks]


def read_output_scores(folder: Path) -> list[OutputScore]:
    """Reads the summary; nothing where there is none.

    Raises:
        InputError: the file is no such summary.
    """
    path = folder / SUMMARY_NAME
    try:
        return [OutputScore(**each) for each in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: no summary of scores ({error}); score again.") from error


def _scores(folder: Path, task: str, name: str, scorer: Any) -> list[float]:
    answers = [(p.inputs, p.prediction) for p in read_predictions(predictions_path(folder, task))]
    if not answers:
        raise InputError(f"{folder}: task {task} has no answer to score.")
    path = folder / "output_scores" / f"{task}.{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = _known(path)
    by = scorer_name(scorer)
    keys = [_key(by, *answer) for answer in answers]
    to_do = {key: a for key, a in zip(keys, answers, strict=True) if key not in known}
    shown = Progress(f"score {task} by {by}", total=len(to_do), unit="answers")
    with path.open("a", encoding="utf-8") as lines:
        for start in range(0, len(to_do), _AT_ONCE):
            batch = list(to_do)[start : start + _AT_ONCE]
            many = callable(getattr(scorer, "score_all", None))
            for part in [batch] if many else [[key] for key in batch]:
                texts = [to_do[key] for key in part]
                made = score_all(scorer, [p for p, _ in texts], [a for _, a in texts])
                for key, score in zip(part, made, strict=True):
                    known[key] = score
                    lines.write(json.dumps({"answer": key, "score": score}) + "\n")
                lines.flush()
                shown.update(shown.done + len(part))
    shown.finish(f"{len(to_do)} answers")
    return [known[key] for key in keys]


def _known(path: Path) -> dict[str, float]:
    """Scores of earlier calls; a line cut short by a kill is passed over."""
    known: dict[str, float] = {}
    if not path.exists():
        return known
    text = path.read_text(encoding="utf-8")
    for line in text.splitlines():
        try:
            row = json.loads(line)
            known[row["answer"]] = float(row["score"])
        except (ValueError, KeyError, TypeError):
            continue
    if text and not text.endswith("\n"):
        with path.open("a", encoding="utf-8") as lines:
            lines.write("\n")
    return known


def _key(by: str, prompt: str, answer: str) -> str:
    return hashlib.sha256(json.dumps([by, prompt, answer]).encode()).hexdigest()[:32]


def _summary(task: str, name: str, by: str, scores: Sequence[float]) -> OutputScore:
    values = np.asarray(scores, np.float64)
    interval = bootstrap.normal_interval(100.0 * values)
    return OutputScore(
        task=task,
        scorer=name,
        by=by,
        mean=float(values.mean()),
        low=interval.low / 100.0,
        high=interval.high / 100.0,
        share=float((values >= THRESHOLD).mean()),
        count=len(values),
    )
