"""The command `studio`: web pages on this machine; `studio label` for evaluation by people.

Every option of the pages is here; what they show is put together in `launch.studio`.
"""

import argparse
from pathlib import Path

from instrux.errors import InputError
from launch.cli_options import MODULE_IMPORT_HELP, AddCommand, refuse

_FORMATS = ("jsonl", "argilla", "label-studio")


def add_commands(add: AddCommand) -> None:
    """Declares the command and what is below it."""
    studio = add(
        "studio", _studio, "web pages on this machine: runs, evaluations, templates, labelling"
    )
    _add_studio_options(studio)
    subjects = studio.add_subparsers(
        title="subjects", metavar="SUBJECT", description="without one, everything is shown"
    )
    label = subjects.add_parser(
        "label",
        help="people rate and rank the outputs of systems",
        description="Serves the label pages over a study; an ACTION prepares or reads a study.",
        epilog="From nothing: create, import, labeller, then no action at all. Each action has its\n"
        "own --help.\n\nmore: docs/labelling.md",
        formatter_class=studio.formatter_class,
    )
    label.set_defaults(function=_serve)
    label.add_argument("--db", metavar="FILE", help="the study, one SQLite file")
    _add_address(label)
    actions = label.add_subparsers(title="actions", metavar="ACTION")
    for declare in (
        _add_create,
        _add_import,
        _add_labeller,
        _add_guidelines,
        _add_status,
        _add_export,
    ):
        declare(actions)


def _add_studio_options(studio: argparse.ArgumentParser) -> None:
    studio.add_argument(
        "--data_dir",
        action="append",
        default=[],
        metavar="DIR",
        help="data folder, whose packed sets are shown; may be repeated",
    )
    studio.add_argument("--module_import", action="append", default=[], help=MODULE_IMPORT_HELP)
    studio.add_argument(
        "--runs",
        action="append",
        default=[],
        metavar="DIR",
        help="folder to look for runs and evaluations below; may be repeated; else here",
    )
    studio.add_argument(
        "--templates",
        action="append",
        default=[],
        metavar="NAME",
        help="release or folder of templates; may be repeated; else promptsource-0.2.3",
    )
    studio.add_argument(
        "--own_templates",
        metavar="DIR",
        help="a folder of yours, in which templates can be written, changed and deleted",
    )
    studio.add_argument("--db", metavar="FILE", help="a study to label as well, one SQLite file")
    _add_address(studio)


def _add_address(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", default="127.0.0.1", help="address to listen on")
    command.add_argument("--port", type=int, default=8642, help="0 for a free one")
    command.add_argument(
        "--public", action="store_true", help="allow a --host that other machines can reach"
    )
    command.add_argument(
        "--allowed_host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name under which browsers ask for it; may be repeated",
    )


def _studio(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from launch import studio

    shown = studio.Shown(
        data_dirs=[Path(folder) for folder in options.data_dir],
        module_imports=options.module_import,
        runs=[Path(folder) for folder in options.runs],
        templates=options.templates,
        own_templates=None if options.own_templates is None else Path(options.own_templates),
        study=None if options.db is None else Path(options.db),
    )
    studio.serve_all(
        shown,
        host=options.host,
        port=options.port,
        public=options.public,
        allowed_hosts=options.allowed_host,
    )
    return 0


def _action(actions, name: str, function, description: str) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=description, description=description)
    # Without a default of its own: `--db` before the action's name counts as well.
    action.add_argument("--db", metavar="FILE", default=argparse.SUPPRESS, help="the study")
    action.set_defaults(function=function)
    return action


def _add_create(actions) -> None:
    create = _action(actions, "create", _create, "make a study; its settings are fixed then")
    create.add_argument(
        "--mode",
        default="form",
        help="form: rate each output and rank several (InstructGPT's form); pairs: which of two is"
        " acceptable, and which is better; toxicity: how toxic prompts and continuations are, and"
        " how well these continue (form)",
    )
    create.add_argument(
        "--share",
        type=float,
        default=0.15,
        help="share of the tasks that several labellers of a group answer, for agreement (0.15)",
    )
    create.add_argument(
        "--raters", type=int, default=2, help="labellers of a group for such a task (2)"
    )
    create.add_argument(
        "--outputs_per_task",
        type=int,
        default=0,
        help="form: outputs shown together; 1 shows each alone, 0 all of a prompt (0)",
    )
    create.add_argument(
        "--baseline", default="", help="pairs: a system that every other one is paired with"
    )
    create.add_argument("--seed", type=int, default=0, help="of who is asked what (0)")


def _add_import(actions) -> None:
    importing = _action(
        actions, "import", _import, "put prompts, outputs or answers from elsewhere into a study"
    )
    importing.add_argument(
        "--prompts",
        action="append",
        default=[],
        metavar="FILE",
        help="JSON lines with prompt (or instruction and input), and perhaps id, use_case,"
        " closed_domain, has_constraint and outputs {system: text}; may be repeated",
    )
    importing.add_argument(
        "--outputs",
        action="append",
        default=[],
        metavar="SYSTEM=FILE",
        help="JSON lines with an id or prompt, and output, response, prediction or completion;"
        " may be repeated",
    )
    importing.add_argument("--answers", metavar="FILE", help="what people said, in --format")
    importing.add_argument(
        "--format", choices=_FORMATS, default="jsonl", help="of --answers (jsonl)"
    )


def _add_labeller(actions) -> None:
    labeller = _action(actions, "labeller", _labeller, "add a labeller, and print their token")
    labeller.add_argument("name", help="what they sign in with")
    labeller.add_argument(
        "--group", default="training", help="training, held-out or another (training)"
    )
    what = labeller.add_mutually_exclusive_group()
    what.add_argument("--new_token", action="store_true", help="give a known labeller another one")
    what.add_argument("--retire", action="store_true", help="let go: their open tasks go to others")


def _add_guidelines(actions) -> None:
    guidelines = _action(
        actions, "guidelines", _guidelines, "print the guidelines, or put others in force"
    )
    guidelines.add_argument("--file", help="a text file to put in force")
    guidelines.add_argument("--version", help="its name, stored with every answer; with --file")


def _add_status(actions) -> None:
    status = _action(actions, "status", _status, "what a study holds, and how far labellers are")
    status.add_argument("--json", action="store_true", help="as JSON")


def _add_export(actions) -> None:
    export = _action(actions, "export", _export, "write what people said, or the tasks")
    export.add_argument("--out", required=True, help="a file for jsonl, else a folder")
    export.add_argument("--format", choices=_FORMATS, default="jsonl", help="(jsonl)")
    export.add_argument(
        "--every", action="store_true", help="jsonl: also answers that were replaced later"
    )


def _study(options: argparse.Namespace) -> Path:
    if options.db is None:
        raise InputError("studio label: name the study by --db FILE; see --help")
    return Path(options.db)


def _serve(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    study = _study(options)
    from launch import studio_label

    studio_label.serve_study(
        study,
        host=options.host,
        port=options.port,
        public=options.public,
        allowed_hosts=options.allowed_host,
    )
    return 0


def _create(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from instrux.studio.label import study

    settings = study.StudySettings(
        mode=options.mode,
        share=options.share,
        raters=options.raters,
        outputs_per_task=options.outputs_per_task,
        baseline=options.baseline,
        seed=options.seed,
    )
    study.create(_study(options), settings)
    print(options.db)
    return 0


def _import(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from launch import studio_label

    studio_label.import_into(
        _study(options),
        prompts=options.prompts,
        outputs=options.outputs,
        answers=options.answers,
        form=options.format,
    )
    return 0


def _labeller(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from launch import studio_label

    studio_label.change_labeller(
        _study(options),
        options.name,
        group=options.group,
        new_token=options.new_token,
        retire=options.retire,
    )
    return 0


def _guidelines(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from launch import studio_label

    studio_label.guidelines(_study(options), file=options.file, version=options.version)
    return 0


def _status(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from launch import studio_label

    studio_label.status(_study(options), as_json=options.json)
    return 0


def _export(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from launch import studio_label

    studio_label.export_from(
        _study(options), Path(options.out), form=options.format, every=options.every
    )
    return 0
