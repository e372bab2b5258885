"""`results.json`: what one evaluation of one model found, and how it was made.

All scores are percent. The file is versioned (`SCHEMA`), written whole or not at all, and checked
field by field when it is read, because it may come from another machine or another version.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from instrux.data.files import write_atomically
from instrux.errors import InputError

SCHEMA = "instrux.results/2"
FILE_NAME = "results.json"


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval, in the unit of what it is the interval of."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task: one prompt of one dataset.

    Attributes:
        task: the task's name, also that of its file of predictions.
        dataset: label of its dataset (`super_glue/rte`, `anli/dev_r1`).
        template: the prompt's name.
        cluster: the task cluster it belongs to, or "".
        group: why it is evaluated, such as `held-out prompts`, or "".
        mode: `rank` (the best of the answer choices) or `generate`.
        metric: the headline metric's name.
        score: the headline metric.
        interval: of the score over examples: Wilson's for right or wrong, else the normal one.
        metrics: every metric of the task by name.
        num_examples: examples evaluated.
        num_without_correct_choice: ranked examples whose target is none of their choices; they
            count as wrong.
        num_truncated_inputs: examples whose inputs were cut at the inputs' length.
        chance: mean of 1 / number of choices for a ranked task, else None.
        majority: the score of always answering with the most frequent target.
        original_task: whether the prompt asks for what the dataset is about.
        settings_digest: digest of everything that determines the predictions.
        seconds: wall-clock time that it took.
        padding_share: share of the positions of inputs and choices computed that held padding, or
            None where it was not measured.
        num_rendered: examples that the task has, evaluated or not: fewer than another prompt of
            its dataset where the prompt applies to some rows only; None where not known.
    """

    task: str
    dataset: str
    template: str
    cluster: str
    group: str
    mode: str
    metric: str
    score: float
    interval: Interval
    metrics: Mapping[str, float]
    num_examples: int
    num_without_correct_choice: int
    num_truncated_inputs: int
    chance: float | None
    majority: float
    original_task: bool
    settings_digest: str
    seconds: float
    padding_share: float | None = None
    num_rendered: int | None = None

    @property
    def baseline(self) -> float:
        """What no understanding gets: chance where choices are ranked, else the majority."""
        return self.majority if self.chance is None else self.chance


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Several prompts taken together.

    Attributes:
        scope: `dataset`, `cluster`, `group` or `all`.
        name: the dataset, cluster or group; "" for `all`.
        group: the group its prompts belong to; "" where groups are pooled.
        metric: the headline metric they share.
        score: the median over the prompts of a dataset; over several datasets the mean of their
            medians, so that a dataset with many prompts does not outweigh the others.
        interval: of `score`, by a bootstrap over examples and prompts.
        mean: mean over prompts.
        median: median over prompts.
        lower_quartile: first quartile over prompts (linear interpolation).
        upper_quartile: third quartile over prompts.
        interquartile_range: the spread over prompts: third quartile less first.
        best: the best prompt's score.
        worst: the worst prompt's score.
        baseline: what no understanding gets, averaged as `score` is.
        num_datasets: datasets taken together.
        num_prompts: prompts taken together.
        num_examples: different examples of the datasets.
    """

    scope: str
    name: str
    group: str
    metric: str
    score: float
    interval: Interval
    mean: float
    median: float
    lower_quartile: float
    upper_quartile: float
    interquartile_range: float
    best: float
    worst: float
    baseline: float
    num_datasets: int
    num_prompts: int
    num_examples: int


@dataclass(frozen=True, kw_only=True)
class EvaluationResults:
    """What one evaluation found.

    Attributes:
        model_dir: the run that was evaluated.
        step: the checkpoint's step.
        settings: what determined the predictions.
        versions: package -> version.
        groups: names of the groups in the order to show them.
        tasks: one result a task.
        summaries: the tasks taken together in several ways.
        schema: always `SCHEMA`.
    """

    model_dir: str
    step: int
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    groups: tuple[str, ...]
    tasks: tuple[TaskResult, ...]
    summaries: tuple[Summary, ...]
    schema: str = SCHEMA


def write_results(path: Path, results: EvaluationResults | TaskResult) -> None:
    """Writes results as indented JSON; what is not a number becomes null."""
    content = _without_nan(dataclasses.asdict(results))
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, [text.encode(errors="replace")])


def same_results(one: EvaluationResults, other: EvaluationResults) -> bool:
    """Whether two results would be written as the same file, but for versions."""
    first, second = (_without_nan(dataclasses.asdict(results)) for results in (one, other))
    return first | {"versions": {}} == second | {"versions": {}}


def read_results(path: Path) -> EvaluationResults:
    """Reads `results.json`.

    Raises:
        InputError: it is missing, of another schema, or a field is not what it should be.
    """
    content = _read_json(path)
    schema = content.get("schema")
    if schema != SCHEMA:
        raise InputError(
            f"{path}: its schema is {schema!r}, this version reads {SCHEMA!r}; evaluate again."
        )
    return _checked(EvaluationResults, content, path)


def read_task_result(path: Path) -> TaskResult:
    """Reads one task's result.

    Raises:
        InputError: as `read_results`.
    """
    return _checked(TaskResult, _read_json(path), path)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such results; `instrux evaluate` writes them.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); delete it and evaluate again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not results but a {type(content).__name__}; evaluate again.")
    return content


_Made = TypeVar("_Made")


def _checked(kind: type[_Made], content: dict[str, Any], path: Path) -> _Made:
    try:
        return _value(kind, content, "the results")
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: {error}; delete it and evaluate again.") from error


def _value(kind: Any, value: Any, where: str) -> Any:
    """Builds `kind` from plain JSON, or tells which field is not what it should be."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is types.UnionType:
        inner = [argument for argument in arguments if argument is not types.NoneType]
        return None if value is None else _value(inner[0], value, where)
    if origin is tuple:
        _expect(isinstance(value, list), where, "a list", value)
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is not None:  # the remaining generic is Mapping[str, ...]
        _expect(isinstance(value, dict), where, "an object", value)
        return {key: _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        _expect(value is None or number, where, "a number", value)
        return math.nan if value is None else float(value)
    _expect(type(value) is kind, where, getattr(kind, "__name__", str(kind)), value)
    return value


def _dataclass(kind: type, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), where, "an object", value)
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    names = {field.name for field in fields}
    needed = {field.name for field in fields if field.default is dataclasses.MISSING}
    missing, unknown = sorted(needed - value.keys()), sorted(value.keys() - names)
    if missing or unknown:
        raise ValueError(f"{where} lacks the fields {missing} and has the unknown ones {unknown}")
    return kind(
        **{
            name: _value(hints[name], value[name], f"{where}.{name}")
            for name in sorted(names & value.keys())
        }
    )


def _expect(holds: bool, where: str, expected: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"{where} should be {expected}, found {str(value)[:40]!r}")
