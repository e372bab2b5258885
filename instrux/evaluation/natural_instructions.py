"""Scores of Natural Instructions: the released evaluation's arithmetic, over its own files.

Every instance counts the same: a score is the mean over instances of the best over references, in
percent and rounded to four places, overall and within every task, category and track. The
headline is ROUGE-L, for classification too; by category, exact match is what the paper reports
for the six kinds of classification.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrux.data.files import write_atomically, write_json_atomically
from instrux.data.natural_instructions_splits import CLASSIFICATION_CATEGORIES
from instrux.errors import InputError
from instrux.evaluation.metrics import tk_instruct_exact_match
from instrux.evaluation.rouge import RougeScorer, english_scorer, gpt2_scorer
from instrux.progress import tell

TRACKS = ("default", "xlingual")
_PLACES = 4


@dataclass(frozen=True)
class ScoredInstance:
    """An instance, what is acceptable, and what a model said.

    Attributes:
        id: the instance's.
        task: the task's name.
        category: its kind, "" where it is not known.
        references: acceptable answers, at least one.
        prediction: what the model said.
        track: `default` or `xlingual`, which decides on the tokens of ROUGE.
    """

    id: str
    task: str
    category: str
    references: tuple[str, ...]
    prediction: str
    track: str = "default"


@dataclass(frozen=True)
class Score:
    """Mean scores of some instances in percent.

    Attributes:
        name: the task, category or track.
        rougeL: ROUGE-L.
        rouge1: ROUGE-1.
        exact_match: exact match.
        instances: how many.
        tasks: of how many tasks.
    """

    name: str
    rougeL: float
    rouge1: float
    exact_match: float
    instances: int
    tasks: int

    @property
    def metric(self) -> str:
        """The metric that the paper reports for this category: `exact_match` or `rougeL`."""
        return "exact_match" if self.name in CLASSIFICATION_CATEGORIES else "rougeL"

    @property
    def reported(self) -> float:
        """That metric."""
        return getattr(self, self.metric)


@dataclass(frozen=True)
class NaturalInstructionsScores:
    """What the scoring of a set of predictions found.

    Attributes:
        tracks: one score a track, named by it.
        categories: one a track and category, by track.
        tasks: one a track and task, by track.
        missing: ids of instances without a prediction, which counted as "".
    """

    tracks: tuple[Score, ...]
    categories: Mapping[str, tuple[Score, ...]]
    tasks: Mapping[str, tuple[Score, ...]]
    missing: tuple[str, ...] = ()

    def track(self, name: str) -> Score:
        """The score of a track."""
        return next(score for score in self.tracks if score.name == name)

    def category(self, name: str, track: str = "default") -> Score:
        """The score of a category."""
        return next(score for score in self.categories[track] if score.name == name)

    def released_keys(self, track: str) -> dict[str, float]:
        """The scores under the released script's keys: `rougeL_for_textual_entailment`."""
        overall = self.track(track)
        found = {metric: getattr(overall, metric) for metric in ("exact_match", "rouge1", "rougeL")}
        for score in (*self.categories[track], *self.tasks[track]):
            group = "_".join(score.name.lower().split())
            for metric in ("exact_match", "rouge1", "rougeL"):
                found[f"{metric}_for_{group}"] = getattr(score, metric)
        return found


def score(
    instances: Iterable[ScoredInstance],
    *,
    missing: Sequence[str] = (),
    gpt2_merges: str | None = None,
) -> NaturalInstructionsScores:
    """Scores predictions.

    Args:
        instances: what is scored.
        missing: ids among them that had no prediction, for the record.
        gpt2_merges: GPT-2's `merges.txt` for the cross-lingual track, by default the one in the
            cache folder.

    Raises:
        InputError: there is no instance, one has no reference or an unknown track, or the merges
            are needed and cannot be read.
    """
    scored = [(each, _scores_of(each, gpt2_merges)) for each in instances]
    if not scored:
        raise InputError("no Natural Instructions instance to score")
    by_track = _grouped(scored, lambda each: each.track)
    return NaturalInstructionsScores(
        tracks=tuple(_mean(name, members) for name, members in by_track.items()),
        categories={
            track: _means(_grouped(members, lambda each: each.category))
            for track, members in by_track.items()
        },
        tasks={
            track: _means(_grouped(members, lambda each: each.task))
            for track, members in by_track.items()
        },
        missing=tuple(missing),
    )


def rouge_scorer_of(track: str, gpt2_merges: str | None = None) -> RougeScorer:
    """The scorer of a track.

    Raises:
        InputError: there is no such track.
    """
    if track not in TRACKS:
        raise InputError(f"Natural Instructions has the tracks {TRACKS}, and no {track!r}")
    return english_scorer() if track == "default" else gpt2_scorer(gpt2_merges)


_Scores = tuple[float, float, float]
_Scored = Sequence[tuple[ScoredInstance, _Scores]]


def _scores_of(instance: ScoredInstance, gpt2_merges: str | None) -> _Scores:
    """ROUGE-L, ROUGE-1 and exact match, 0 to 1."""
    if not instance.references:
        raise InputError(f"instance {instance.id} of {instance.task} has no reference")
    scorer = rouge_scorer_of(instance.track, gpt2_merges)
    said, references = instance.prediction, instance.references
    return (
        max(scorer.rouge_l(said, reference) for reference in references),
        max(scorer.rouge_1(said, reference) for reference in references),
        max(tk_instruct_exact_match(said, reference) for reference in references) / 100.0,
    )


def _grouped(scored: _Scored, key) -> dict[str, list[tuple[ScoredInstance, _Scores]]]:
    groups: dict[str, list[tuple[ScoredInstance, _Scores]]] = {}
    for pair in scored:
        groups.setdefault(key(pair[0]), []).append(pair)
    return groups


def _means(groups: Mapping[str, _Scored]) -> tuple[Score, ...]:
    return tuple(_mean(name, members) for name, members in sorted(groups.items()))


def _mean(name: str, members: _Scored) -> Score:
    # Summed one after another as the released script does, so that rounding falls alike.
    rouge_l, rouge_1, exact = (
        round(100.0 * sum(scores[which] for _, scores in members) / len(members), _PLACES)
        for which in range(3)
    )
    tasks = len({instance.task for instance, _ in members})
    return Score(name, rouge_l, rouge_1, exact, len(members), tasks)


# --- Files ---------------------------------------------------------------------------------------


def read_released_predictions(path: str | Path, *, track: str = "default") -> list[ScoredInstance]:
    """Reads `predicted_examples.jsonl`: on every line a whole example and its `prediction`.

    Raises:
        InputError: the file cannot be read, or a line is something else.
    """
    return [_from_released(line, where, track) for where, line in _lines(path)]


def write_released_predictions(
    path: str | Path, rows: Iterable[tuple[Mapping[str, Any], str]]
) -> None:
    """Writes rows of a `NaturalInstructionsSource` and their predictions in that format."""
    lines = (
        json.dumps({**row, "prediction": prediction}, ensure_ascii=False) + "\n"
        for row, prediction in rows
    )
    write_atomically(path, (line.encode(errors="replace") for line in lines))


def read_leaderboard(
    predictions: str | Path, references: str | Path
) -> tuple[list[ScoredInstance], tuple[str, ...]]:
    """Reads the leaderboard's two files: `id, prediction` and `id, references, task_id, ...`.

    Returns:
        The instances of the references in their order, and the ids of those without a prediction,
        which count as "".

    Raises:
        InputError: a file cannot be read, a line is something else, or an id comes twice.
    """
    said = read_answers(predictions)
    instances = [
        ScoredInstance(
            id=_text(line, "id", where),
            task=_text(line, "task_id", where),
            category=_text(line, "task_category", where),
            references=_texts(line, "references", where),
            prediction=said.get(_text(line, "id", where), ""),
            track=_text(line, "track", where),
        )
        for where, line in _lines(references)
    ]
    missing = tuple(each.id for each in instances if each.id not in said)
    tell_missing(predictions, missing, len(instances))
    return instances, missing


def read_answers(path: str | Path) -> dict[str, str]:
    """Reads lines of `id` (or `example_id`, as exported rows have it) and `prediction`.

    Raises:
        InputError: the file cannot be read, a line is something else, or an id comes twice.
    """
    said: dict[str, str] = {}
    for where, line in _lines(path):
        instance_id = _text(line, "id" if "id" in line else "example_id", where)
        if instance_id in said:
            raise InputError(f"{where}: instance {instance_id!r} has a prediction already.")
        said[instance_id] = _text(line, "prediction", where)
    return said


def tell_missing(predictions: str | Path, missing: Sequence[str], of: int) -> None:
    """Tells which of so many instances a file has no prediction for."""
    if missing:
        tell(
            f"{predictions}: no prediction for {len(missing)} of {of} instances;"
            f" they count as empty, the first is {missing[0]}"
        )


def write_leaderboard(
    instances: Sequence[ScoredInstance], *, predictions: str | Path, references: str | Path
) -> None:
    """Writes the leaderboard's two files."""
    _write_lines(predictions, [{"id": i.id, "prediction": i.prediction} for i in instances])
    _write_lines(
        references,
        [
            {
                "id": each.id,
                "references": list(each.references),
                "task_id": each.task,
                "task_category": each.category,
                "track": each.track,
            }
            for each in instances
        ],
    )


def write_scores(path: str | Path, scores: NaturalInstructionsScores) -> None:
    """Writes all scores as JSON, and under `released` the released script's keys by track."""
    content = dataclasses.asdict(scores)
    content["released"] = {each.name: scores.released_keys(each.name) for each in scores.tracks}
    write_json_atomically(path, content)


def _from_released(line: Mapping[str, Any], where: str, track: str) -> ScoredInstance:
    instance = line.get("Instance")
    if not isinstance(instance, dict):
        raise InputError(f"{where}: field 'Instance' is missing or no object.")
    categories = line.get("Categories")
    category = categories[0] if isinstance(categories, list) and categories else ""
    own_id = line.get("id", instance.get("id"))
    return ScoredInstance(
        id=own_id if isinstance(own_id, str) else where,
        task=_text(line, "Task", where),
        category=category if isinstance(category, str) else "",
        references=_texts(instance, "output", where),
        prediction=_text(line, "prediction", where),
        track=track,
    )


def _lines(path: str | Path):
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                where = f"{path}, line {number}"
                try:
                    content = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise InputError(f"{where}: not JSON ({error}).") from error
                if not isinstance(content, dict):
                    raise InputError(f"{where}: not a JSON object.")
                yield where, content
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason}).") from error


def _text(line: Mapping[str, Any], field: str, where: str) -> str:
    value = line.get(field)
    if not isinstance(value, str):
        raise InputError(f"{where}: field {field!r} is missing or no text.")
    return value


def _texts(line: Mapping[str, Any], field: str, where: str) -> tuple[str, ...]:
    value = line.get(field)
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise InputError(f"{where}: field {field!r} is no list of texts, or empty.")
    return tuple(value)


def _write_lines(path: str | Path, items: Iterable[Mapping[str, Any]]) -> None:
    lines = (json.dumps(item, ensure_ascii=False) + "\n" for item in items)
    write_atomically(path, (line.encode(errors="replace") for line in lines))
