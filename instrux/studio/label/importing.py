"""Prompts and outputs into a study, from JSON lines as people have them."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from instrux.errors import InputError
from instrux.evaluation.label_records import json_lines
from instrux.studio.label.form import MAX_OUTPUTS
from instrux.studio.label.study import PAIRS, StudySettings, settings_of

_OUTPUT_FIELDS = ("output", "response", "prediction", "completion")
_USE_CASE_FIELDS = ("use_case", "category")
MAX_TEXT = 200_000
"""Characters of a prompt or an output: more is a mistake, and no page could show it."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt as it is read, with the outputs that its line holds."""

    id: str
    text: str
    use_case: str = ""
    source: str = ""
    split: str = ""
    closed_domain: bool | None = None
    has_constraint: bool | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """What an import changed.

    Attributes:
        prompts: prompts in the study.
        outputs: outputs in the study.
        tasks: tasks in the study.
        systems: system -> how many prompts it has an output for.
    """

    prompts: int
    outputs: int
    tasks: int
    systems: Mapping[str, int]


def import_items(
    database: sqlite3.Connection,
    *,
    prompt_files: Sequence[Path] = (),
    output_files: Sequence[tuple[str, Path]] = (),
) -> Imported:
    """Puts prompts and outputs into a study, and makes its tasks.

    To import the same again changes nothing.

    Args:
        database: the study, in a transaction.
        prompt_files: lines with a prompt, and perhaps its `outputs`.
        output_files: a system's name and lines with a prompt (or its id) and the output.

    Raises:
        InputError: a line lacks its prompt or output, is of a prompt that the prompt files do not
            have, or says something else than what is there already.
    """
    known = _known(database)
    for path in prompt_files:
        for where, content in json_lines(path):
            prompt = _prompt(content, where)
            _put_prompt(database, prompt, where, known)
            for system, text in prompt.outputs.items():
                _put_output(database, prompt.id, system, text, where)
    for system, path in output_files:
        for where, content in json_lines(path):
            prompt_id = _prompt_of_output(database, content, where, known, bool(prompt_files))
            _put_output(database, prompt_id, system, _output(content, where), where)
    settings = settings_of(database)
    _make_tasks(database, settings)
    return counts(database)


def counts(database: sqlite3.Connection) -> Imported:
    """What a study holds."""

    def number(table: str) -> int:
        return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    systems = database.execute("SELECT system, count(*) FROM outputs GROUP BY system")
    return Imported(
        number("prompts"), number("outputs"), number("tasks"), {row[0]: row[1] for row in systems}
    )


def _known(database: sqlite3.Connection) -> dict[str, str]:
    """Text -> id of the prompts there are."""
    return {
        row["text"].strip(): row["id"] for row in database.execute("SELECT id, text FROM prompts")
    }


def _prompt(content: Mapping[str, Any], where: str) -> Prompt:
    text = _prompt_text(content, where)
    if text is None:
        raise InputError(f"{where}: no prompt; give `prompt`, or `instruction` and `input`.")
    use_case = next((content[f] for f in _USE_CASE_FIELDS if content.get(f)), "")
    return Prompt(
        id=_id(content.get("id", content.get("prompt_id")), where) or _id_of(text),
        text=text,
        use_case=_text(use_case, "use_case", where),
        source=_text(content.get("source") or "", "source", where),
        split=_text(content.get("split") or "", "split", where),
        closed_domain=_truth(content.get("closed_domain"), "closed_domain", where),
        has_constraint=_truth(content.get("has_constraint"), "has_constraint", where),
        outputs=_outputs(content.get("outputs"), where),
    )


def _prompt_text(content: Mapping[str, Any], where: str) -> str | None:
    """The prompt of a line: instruction and input, or one text; None where it has neither."""
    if isinstance(content.get("instruction"), str):
        given = content.get("input")
        instances = content.get("instances")
        if given is None and isinstance(instances, list) and instances:
            given = instances[0].get("input") if isinstance(instances[0], dict) else None
        parts = [content["instruction"].strip(), _text(given or "", "input", where).strip()]
        text = "\n\n".join(part for part in parts if part)
    else:
        value = content.get("prompt", content.get("inputs"))
        if value is None:
            return None
        text = _text(value, "prompt", where)
    if not text.strip():
        raise InputError(f"{where}: the prompt is empty.")
    return text


def _id(value: Any, where: str) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(value, "id", where)


def _id_of(text: str) -> str:
    return f"prompt-{hashlib.sha256(text.strip().encode()).hexdigest()[:12]}"


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: `{name}` should be a text, found {str(value)[:40]!r}.")
    if len(value) > MAX_TEXT:
        raise InputError(f"{where}: `{name}` has {len(value):,} characters, over {MAX_TEXT:,}.")
    # SQLite holds UTF-8, and a lone surrogate is none.
    return value.encode(errors="replace").decode()


def _truth(value: Any, name: str, where: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{where}: `{name}` should be true, false or null, found {value!r}.")
    return value


def _outputs(value: Any, where: str) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        value = {item.get("system"): item.get("text") for item in value}
    if not isinstance(value, dict):
        raise InputError(f"{where}: `outputs` should be an object, system to text.")
    return {
        _system(system, where): _text(text, f"outputs.{system}", where)
        for system, text in value.items()
    }


def _system(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: a system should have a name, found {value!r}.")
    return value


def _output(content: Mapping[str, Any], where: str) -> str:
    for name in _OUTPUT_FIELDS:
        if content.get(name) is not None:
            return _text(content[name], name, where)
    raise InputError(f"{where}: no output; give one of {', '.join(_OUTPUT_FIELDS)}.")


def _prompt_of_output(
    database: sqlite3.Connection,
    content: Mapping[str, Any],
    where: str,
    known: dict[str, str],
    only_known: bool,
) -> str:
    given = _id(content.get("id", content.get("prompt_id")), where)
    if given and given in known.values():
        return given
    text = _prompt_text(content, where)
    if text is not None and text.strip() in known:
        return known[text.strip()]
    if only_known or text is None:
        raise InputError(
            f"{where}: its prompt ({given or 'no id'}) is in none of the prompt files;"
            " give the same id or the same text."
        )
    prompt = _prompt(content, where)
    _put_prompt(database, prompt, where, known)
    return prompt.id


def _put_prompt(
    database: sqlite3.Connection, prompt: Prompt, where: str, known: dict[str, str]
) -> None:
    found = database.execute("SELECT * FROM prompts WHERE id = ?", (prompt.id,)).fetchone()
    if found is not None and found["text"] != prompt.text:
        raise InputError(f"{where}: another prompt has the id {prompt.id!r}.")
    database.execute(
        "INSERT INTO prompts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " use_case = excluded.use_case, source = excluded.source, split = excluded.split,"
        " closed_domain = excluded.closed_domain, has_constraint = excluded.has_constraint",
        (
            prompt.id,
            prompt.text,
            prompt.use_case,
            prompt.source,
            prompt.split,
            prompt.closed_domain,
            prompt.has_constraint,
        ),
    )
    known[prompt.text.strip()] = prompt.id


def _put_output(
    database: sqlite3.Connection, prompt_id: str, system: str, text: str, where: str
) -> None:
    found = database.execute(
        "SELECT text FROM outputs WHERE prompt = ? AND system = ?", (prompt_id, system)
    ).fetchone()
    if found is None:
        database.execute("INSERT INTO outputs VALUES (?, ?, ?)", (prompt_id, system, text))
    elif found["text"] != text:
        raise InputError(
            f"{where}: {system!r} has another output for the prompt {prompt_id!r} already."
        )


def _make_tasks(database: sqlite3.Connection, settings: StudySettings) -> None:
    """Makes the tasks that the outputs call for; those that were opened stay as they are."""
    wanted = {
        task_id(prompt, systems): (prompt, systems)
        for prompt, of_prompt in _systems(database)
        for systems in task_systems(prompt, of_prompt, settings)
    }
    there = {row["id"] for row in database.execute("SELECT id FROM tasks")}
    kept = {row["task"] for row in database.execute("SELECT task FROM views")}
    kept |= {row["task"] for row in database.execute("SELECT task FROM answers")}
    database.executemany(
        "DELETE FROM tasks WHERE id = ?", [(task,) for task in there - wanted.keys() - kept]
    )
    database.executemany(
        "INSERT INTO tasks VALUES (?, ?, ?)",
        [
            (task, prompt, json.dumps(systems))
            for task, (prompt, systems) in wanted.items()
            if task not in there
        ],
    )


def _systems(database: sqlite3.Connection) -> Iterator[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for row in database.execute("SELECT prompt, system FROM outputs ORDER BY prompt, system"):
        found.setdefault(row["prompt"], []).append(row["system"])
    yield from found.items()


def task_id(prompt: str, systems: Iterable[str]) -> str:
    """The task of a prompt and these outputs; it tells nothing of either."""
    key = json.dumps([prompt, sorted(systems)])
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def task_systems(
    prompt: str, systems: Sequence[str], settings: StudySettings
) -> list[tuple[str, ...]]:
    """Which outputs of a prompt are shown together.

    Raises:
        InputError: too many outputs for one page.
    """
    if settings.mode == PAIRS:
        pairs = list(combinations(sorted(systems), 2))
        return [p for p in pairs if not settings.baseline or settings.baseline in p]
    size = settings.outputs_per_task or len(systems)
    if size > MAX_OUTPUTS:
        raise InputError(
            f"the prompt {prompt!r} has {len(systems)} outputs, and a page shows {MAX_OUTPUTS} at"
            " most: create the study with --outputs_per_task."
        )
    drawn = sorted(
        systems,
        key=lambda s: hashlib.sha256(f"{settings.seed}\0{prompt}\0{s}".encode()).hexdigest(),
    )
    return [tuple(sorted(drawn[i : i + size])) for i in range(0, len(drawn), size)]
