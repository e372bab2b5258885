"""What people said about outputs, one JSON line an answer, and how it is read.

Three kinds of lines are read: our own (`SCHEMA`), as `instrux studio label export` writes them,
and those of open-instruct's human evaluation (`model_a`, `a_acceptable`, `preference`, …). Every
line is checked; a mistake names its file and line.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from instrux.errors import InputError
from instrux.evaluation.label_flags import ANSWERS, FLAG_OF_NAME, OVERALL
from instrux.evaluation.label_scales import SCALE_OF_NAME

SCHEMA = "instrux.labels/1"
CLEARLY, SLIGHTLY, TIE = "clearly", "slightly", "tie"
DEGREES = (CLEARLY, SLIGHTLY, TIE)


@dataclass(frozen=True, kw_only=True)
class OutputRating:
    """What was said about one output alone.

    Attributes:
        system: which system the output is of.
        overall: overall quality, 1 to 7, or None where it was not asked.
        flags: name of `label_flags.FLAGS` -> `yes`, `no` or `na`.
        acceptable: whether the output is acceptable, or None where it was not asked.
        scales: name of `label_scales.SCALES` that is about outputs -> value.
    """

    system: str
    overall: int | None = None
    flags: Mapping[str, str] = field(default_factory=dict)
    acceptable: bool | None = None
    scales: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Preference:
    """Which of two outputs is better.

    Attributes:
        better: the better one's system; None for a tie.
        degree: `clearly`, `slightly` or `tie`.
    """

    better: str | None
    degree: str


@dataclass(frozen=True, kw_only=True)
class LabelRecord:
    """One labeller's answer about the outputs for one prompt.

    Attributes:
        prompt_id: which prompt.
        labeller: who.
        group: the labeller's group, such as `training` or `held-out`; "" where there are none.
        submitted: when, ISO 8601.
        ratings: one an output, in the order in which they were shown.
        ranking: systems from best to worst, those tied together; None where not asked.
        preference: which of the two is better; None where not asked.
        use_case: what the prompt asks for, such as `Brainstorming`; "" if unknown.
        closed_domain: whether the answer must come from the prompt; None if unknown.
        has_constraint: whether the prompt sets an explicit constraint; None if unknown.
        guideline: version of the instructions to labellers.
        notes: what the labeller wrote.
        seconds: how long the page was open; None if unknown.
        prompt_scales: name of `label_scales.SCALES` that is about prompts -> value.
        prompt: its text, "" if the record does not carry it.
        outputs: system -> text, likewise.
    """

    prompt_id: str
    labeller: str
    group: str = ""
    submitted: str
    ratings: tuple[OutputRating, ...]
    ranking: tuple[tuple[str, ...], ...] | None = None
    preference: Preference | None = None
    use_case: str = ""
    closed_domain: bool | None = None
    has_constraint: bool | None = None
    guideline: str = ""
    notes: str = ""
    seconds: float | None = None
    prompt_scales: Mapping[str, int] = field(default_factory=dict)
    prompt: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def systems(self) -> frozenset[str]:
        """The systems whose outputs it is about."""
        return frozenset(rating.system for rating in self.ratings)

    @property
    def time(self) -> datetime:
        """When it was submitted; a time without a zone is taken as UTC."""
        return _time(self.submitted)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def latest(records: Iterable[LabelRecord]) -> list[LabelRecord]:
    """Keeps the last answer of each labeller about the same outputs, in order of time."""
    kept: dict[tuple[str, str, frozenset[str]], LabelRecord] = {}
    for record in sorted(records, key=lambda record: record.time):
        key = (record.labeller, record.prompt_id, record.systems)
        kept.pop(key, None)
        kept[key] = record
    return list(kept.values())


def to_json_line(record: LabelRecord) -> str:
    """One line, without its line end."""
    content = {"schema": SCHEMA} | dataclasses.asdict(record)
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def read_records(paths: Sequence[Path]) -> list[LabelRecord]:
    """Reads files of JSON lines.

    Raises:
        InputError: a file is missing or empty, or a line is not a record.
    """
    records = []
    for path in paths:
        found = list(_records_of(path))
        if not found:
            raise InputError(f"{path}: no labels in it; `instrux studio label export` writes them.")
        records += found
    return records


def _records_of(path: Path) -> Iterator[LabelRecord]:
    for where, content in json_lines(path):
        yield record_of(content, where)


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Gives each line's place (`file:line`) and its object; blank lines are passed over.

    Raises:
        InputError: the file cannot be read, or a line is not a JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not JSON ({error}); one object a line.") from error
        if not isinstance(content, dict):
            raise InputError(f"{where}: not an object but a {type(content).__name__}.")
        yield where, content


def record_of(content: Mapping[str, Any], where: str) -> LabelRecord:
    """Builds a record from one line's object.

    Raises:
        InputError: it is of no known kind, or a field is not what it should be.
    """
    try:
        if content.get("schema") == SCHEMA:
            return _own(content)
        if {"model_a", "model_b", "preference"} <= content.keys():
            return _open_instruct(content)
    except KeyError as error:
        raise InputError(f"{where}: the field {error} is missing.") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error
    raise InputError(
        f"{where}: neither a label of ours (schema {SCHEMA!r}) nor one of open-instruct"
        f" (model_a, model_b, preference); its fields are {sorted(content)[:8]}."
    )


def _own(content: Mapping[str, Any]) -> LabelRecord:
    known = {f.name for f in dataclasses.fields(LabelRecord)}
    unknown = sorted(content.keys() - known - {"schema"})
    if unknown:
        raise ValueError(f"unknown fields {unknown}")
    ratings = tuple(_rating(r) for r in _expect(content["ratings"], list, "ratings"))
    record = LabelRecord(
        prompt_id=_name(content["prompt_id"], "prompt_id"),
        labeller=_name(content["labeller"], "labeller"),
        submitted=_submitted(content["submitted"]),
        ratings=ratings,
        ranking=_ranking(content.get("ranking")),
        preference=_preference(content.get("preference")),
        closed_domain=_truth(content.get("closed_domain"), "closed_domain"),
        has_constraint=_truth(content.get("has_constraint"), "has_constraint"),
        seconds=_seconds(content.get("seconds")),
        prompt_scales=_scales(content.get("prompt_scales", {}), of_prompt=True),
        outputs={
            system: _expect(text, str, f"outputs.{system}")
            for system, text in _expect(content.get("outputs", {}), dict, "outputs").items()
        },
        **{
            name: _expect(content.get(name, ""), str, name)
            for name in ("group", "use_case", "guideline", "notes", "prompt")
        },
    )
    check_systems(record)
    return record


def check_systems(record: LabelRecord) -> None:
    """Raises a ValueError unless ratings, ranking and preference speak of the same systems."""
    systems = sorted(rating.system for rating in record.ratings)
    if not systems or len(set(systems)) != len(systems):
        raise ValueError(f"ratings should be of one system each, found {systems}")
    if record.ranking is not None:
        ranked = sorted(system for tied in record.ranking for system in tied)
        if ranked != systems:
            raise ValueError(f"the ranking is of {ranked}, the ratings are of {systems}")
    if record.preference is not None:
        if len(systems) != 2 or record.preference.better not in (None, *systems):
            raise ValueError(
                f"the preference is for {record.preference.better!r}, the ratings are of {systems}"
            )


def _open_instruct(content: Mapping[str, Any]) -> LabelRecord:
    first, second = _name(content["model_a"], "model_a"), _name(content["model_b"], "model_b")
    if first == second:
        raise ValueError(f"model_a and model_b are both {first!r}")
    preferences = {
        "a-is-better": Preference(first, CLEARLY),
        "a-is-slightly-better": Preference(first, SLIGHTLY),
        "tie": Preference(None, TIE),
        "b-is-slightly-better": Preference(second, SLIGHTLY),
        "b-is-better": Preference(second, CLEARLY),
    }
    preference = preferences.get(content["preference"])
    if preference is None:
        raise ValueError(
            f"preference should be one of {list(preferences)}, found {content['preference']!r}"
        )
    return LabelRecord(
        prompt_id=_name(content.get("instance_id", content.get("instance_index")), "instance_id"),
        labeller=_name(content["evaluator"], "evaluator"),
        submitted=_submitted(content["timestamp"]),
        ratings=(
            OutputRating(system=first, acceptable=_yes_no(content, "a_acceptable")),
            OutputRating(system=second, acceptable=_yes_no(content, "b_acceptable")),
        ),
        preference=preference,
    )


def _yes_no(content: Mapping[str, Any], name: str) -> bool | None:
    value = content.get(name)
    if value in (None, ""):
        return None
    if value not in ("yes", "no"):
        raise ValueError(f"{name} should be yes or no, found {value!r}")
    return value == "yes"


def _expect(value: Any, kind: type, name: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{name} should be a {kind.__name__}, found {str(value)[:40]!r}")
    return value


def _name(value: Any, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} should be a text that is not empty, found {value!r}")
    return value


def _submitted(value: Any) -> str:
    try:
        _time(_expect(value, str, "submitted"))
    except ValueError as error:
        raise ValueError(f"the time {value!r} is not ISO 8601") from error
    return value


def _truth(value: Any, name: str) -> bool | None:
    return None if value is None else _expect(value, bool, name)


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"seconds should be a number, found {value!r}")
    return float(value)


def _rating(value: Any) -> OutputRating:
    _expect(value, dict, "a rating")
    overall = value.get("overall")
    if overall is not None and (type(overall) is not int or overall not in OVERALL):
        raise ValueError(f"overall should be 1 to 7, found {overall!r}")
    flags = _expect(value.get("flags", {}), dict, "flags")
    for name, answer in flags.items():
        if name not in FLAG_OF_NAME:
            raise ValueError(f"no flag {name!r}; they are {list(FLAG_OF_NAME)}")
        if answer not in ANSWERS:
            raise ValueError(f"the flag {name} should be one of {list(ANSWERS)}, found {answer!r}")
    return OutputRating(
        system=_name(value["system"], "system"),
        overall=overall,
        flags=flags,
        acceptable=_truth(value.get("acceptable"), "acceptable"),
        scales=_scales(value.get("scales", {}), of_prompt=False),
    )


def _scales(value: Any, *, of_prompt: bool) -> dict[str, int]:
    for name, given in _expect(value, dict, "scales").items():
        scale = SCALE_OF_NAME.get(name)
        if scale is None or scale.of_prompt != of_prompt:
            about = "prompts" if of_prompt else "outputs"
            known = [each.name for each in SCALE_OF_NAME.values() if each.of_prompt == of_prompt]
            raise ValueError(f"no scale {name!r} of {about}; they are {known}")
        if type(given) is not int or given not in scale.values:
            raise ValueError(f"{name} should be one of {list(scale.values)}, found {given!r}")
    return value


def _ranking(value: Any) -> tuple[tuple[str, ...], ...] | None:
    if value is None:
        return None
    return tuple(
        tuple(_name(system, "a ranked system") for system in _expect(tied, list, "a rank"))
        for tied in _expect(value, list, "ranking")
    )


def _preference(value: Any) -> Preference | None:
    if value is None:
        return None
    _expect(value, dict, "preference")
    better, degree = value.get("better"), value.get("degree")
    if degree not in DEGREES or (better is None) != (degree == TIE):
        raise ValueError(
            "preference should hold `better` (null for a tie) and `degree`"
            f" (one of {list(DEGREES)}), found {value!r}"
        )
    return Preference(better if better is None else _name(better, "better"), degree)
