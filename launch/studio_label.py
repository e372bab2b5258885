"""`instrux studio label`: serve a study, and prepare or read one."""

import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from instrux.data.files import write_atomically
from instrux.data.lineage_files import FILE_NAME, Source, beside, write_lineage
from instrux.errors import InputError
from instrux.evaluation.label_records import LabelRecord, read_records, to_json_line
from instrux.studio.label import argilla, label_studio, labellers, study
from instrux.studio.label.answers import progress_of, records_of
from instrux.studio.label.exchange import import_records
from instrux.studio.label.importing import Imported, counts, import_items
from instrux.studio.label.labellers import Labeller


def serve_study(
    path: Path, *, host: str, port: int, public: bool, allowed_hosts: Sequence[str]
) -> None:
    """Serves the label pages until it is interrupted.

    Raises:
        InputError: the extra `studio` is missing, the study lacks what a labeller needs, or the
            address is not allowed or not free.
    """
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise InputError("the pages need the extra `studio`: pip install 'instrux[studio]'")
    from instrux.studio import app, security, server
    from instrux.studio.label import routes

    allowed = security.check_bind(host, public=public, allowed_hosts=allowed_hosts)
    with study.opened(path) as database:
        held = counts(database)
        people = database.execute("SELECT count(*) FROM labellers WHERE active = 1").fetchone()[0]
    if not held.tasks:
        raise InputError(
            f"{path} has nothing to label; `instrux studio label import --db {path}` puts prompts"
            " and outputs in."
        )
    if not people:
        raise InputError(
            f"{path} has no labeller; `instrux studio label labeller --db {path} NAME` adds one."
        )
    if host not in security.LOOPBACK_NAMES:
        print(
            "Other machines can reach this, and tokens travel as they are: put it behind a proxy"
            " that speaks HTTPS.",
            file=sys.stderr,
        )
    print(f"{held.tasks:,} tasks, {people} labellers", file=sys.stderr)
    server.serve(
        app.create_app([routes.subject(path)], allowed_hosts=allowed), host=host, port=port
    )


def import_into(
    path: Path,
    *,
    prompts: Sequence[str],
    outputs: Sequence[str],
    answers: str | None,
    form: str,
) -> None:
    """Puts prompts, outputs and answers into a study: all of them, or after a mistake nothing.

    Args:
        path: the study.
        prompts: files of prompts.
        outputs: `SYSTEM=FILE`.
        answers: a file of answers, or None.
        form: `jsonl`, `argilla` or `label-studio`, of the answers.
    """
    if not (prompts or outputs or answers):
        raise InputError("nothing to import: give --prompts, --outputs or --answers")
    pairs = [_system_and_file(argument) for argument in outputs]
    with study.opened(path, write=True) as database:
        held = import_items(database, prompt_files=[Path(p) for p in prompts], output_files=pairs)
        if answers is not None:
            count = _import_answers(database, Path(answers), form)
            print(f"{count:,} answers read", file=sys.stderr)
    _tell(held)


def _system_and_file(argument: str) -> tuple[str, Path]:
    system, sign, file = argument.partition("=")
    if not sign or not system or not file:
        raise InputError(f"--outputs {argument}: write SYSTEM=FILE, such as sft=answers.jsonl")
    return system, Path(file)


def _import_answers(database: Any, path: Path, form: str) -> int:
    if form == "argilla":
        return argilla.import_answers(database, path)
    if form == "label-studio":
        return label_studio.import_answers(database, path)
    return import_records(database, read_records([path]), str(path))


def _tell(held: Imported) -> None:
    print(f"{held.prompts:,} prompts, {held.outputs:,} outputs, {held.tasks:,} tasks")
    most = max(held.systems.values(), default=0)
    for system, count in held.systems.items():
        lacking = f" ({most - count:,} prompts without)" if count < most else ""
        print(f"  {system}: {count:,} outputs{lacking}")
    if held.outputs and not held.tasks:
        print(
            "No tasks yet: a pair needs two outputs, one of them the baseline's.", file=sys.stderr
        )


def change_labeller(path: Path, name: str, *, group: str, new_token: bool, retire: bool) -> None:
    """Adds a labeller, gives another token, or lets one go; a token goes to stdout."""
    with study.opened(path, write=True) as database:
        if retire:
            labellers.retire(database, name)
            print(f"{name} can no longer sign in", file=sys.stderr)
            return
        if new_token:
            token = labellers.renew(database, name)
        else:
            token = labellers.add(database, name=name, group=group)
    print(token)
    print("The token is shown this once; only its hash is kept.", file=sys.stderr)


def guidelines(path: Path, *, file: str | None, version: str | None) -> None:
    """Prints the guidelines in force, or puts others in force."""
    if file is None:
        if version is not None:
            raise InputError("--version goes with --file")
        with study.opened(path) as database:
            known, text = study.guidelines_of(database)
        print(f"version {known}\n\n{text}", end="")
        return
    if version is None:
        raise InputError("--file needs --version, the name that answers will carry")
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as UTF-8 text ({error}).") from error
    with study.opened(path, write=True) as database:
        study.set_guidelines(database, version=version, text=text)
    print(f"version {version} is in force", file=sys.stderr)


def status(path: Path, *, as_json: bool) -> None:
    """Prints what a study holds, and how far each labeller is."""
    with study.opened(path) as database:
        held, settings = counts(database), study.settings_of(database)
        people = [_labeller_status(database, row) for row in _labellers(database)]
    if as_json:
        content = {"settings": vars(settings), **vars(held), "labellers": people}
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return
    _tell(held)
    print(
        f"mode {settings.mode}; {settings.share:.0%} of the tasks go to {settings.raters}"
        " labellers of a group"
    )
    width = max((len(person["name"]) for person in people), default=0)
    for person in people:
        note = "" if person["active"] else ", cannot sign in"
        print(
            f"  {person['name']:{width}}  {person['group']:10}  {person['answered']:>5,} answered,"
            f" {person['left']:>5,} left{note}"
        )


def _labellers(database: Any) -> list[Any]:
    return database.execute("SELECT * FROM labellers ORDER BY grp, name").fetchall()


def _labeller_status(database: Any, row: Any) -> dict[str, Any]:
    progress = progress_of(database, Labeller(row["id"], row["name"], row["grp"]))
    return {
        "name": row["name"],
        "group": row["grp"],
        "active": bool(row["active"]),
        "answered": len(progress.done),
        "left": len(progress.left) if row["active"] else 0,
    }


def export_from(path: Path, out: Path, *, form: str, every: bool) -> None:
    """Writes answers as JSON lines, or tasks and answers for another tool."""
    if every and form != "jsonl":
        raise InputError("--every goes with --format jsonl")
    with study.opened(path) as database:
        if form == "jsonl":
            lines = [to_json_line(record) for _, record in records_of(database, every=every)]
            write_atomically(out, [f"{line}\n".encode() for line in lines])
            count, what = len(lines), "answers"
            lineage, files = beside(out), [out]
        else:
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise InputError(f"--out {out}: exists and is no empty folder.")
            module = argilla if form == "argilla" else label_studio
            count, what = module.export(database, out), "tasks"
            lineage, files = out / FILE_NAME, [each for each in out.rglob("*") if each.is_file()]
    write_lineage(
        lineage,
        "labels",
        files=files,
        # People go on answering: the study's file is not what it was, and need not be.
        sources=[Source(kind="study", name=str(path), path=str(path))],
        arguments={"format": form, "every": every},
        packages=(),
        counts={what: count},
    )
    print(out)
    print(f"{count:,} {what}", file=sys.stderr)


def records_in(path: Path) -> list[LabelRecord]:
    """The answers in a study, the latest of each labeller to each task."""
    with study.opened(path) as database:
        return [record for _, record in records_of(database)]
