"""The commands that show what is registered and fetch what is public: tasks, mixtures, fetch."""

import argparse

from launch import show
from launch.cli_options import MODULE_IMPORT_HELP, AddCommand, refuse


def add_commands(add: AddCommand) -> None:
    """Declares the commands."""
    _add_registries(add)
    _add_fetch(add)


def _add_registries(add: AddCommand) -> None:
    for kind in ("tasks", "mixtures"):
        command = add(kind, _show, f"list the registered {kind}, or show or preview one")
        command.set_defaults(kind=kind)
        command.add_argument("action", choices=("list", "show", "preview"))
        command.add_argument("name", nargs="?", help="a name; for list, a glob")
        command.add_argument("--json", action="store_true", help="for a program to read")
        command.add_argument("--examples", type=int, default=2, help="rows to preview")
        command.add_argument("--split", default="train", help="split to preview")
        command.add_argument("--mirror", action="append", default=[], help="folder of raw rows")
        command.add_argument("--data_dir", help="for mixtures show: count tokens in what it holds")
        command.add_argument("--vocabulary", help="what rendered text is counted with")
        command.add_argument(
            "--module_import", action="append", default=[], help=MODULE_IMPORT_HELP
        )


def _show(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    return show.show(options)


def _add_fetch(add: AddCommand) -> None:
    fetch = add("fetch", _fetch, "get public templates or a vocabulary into the cache folder")
    fetch.add_argument(
        "what",
        choices=("promptsource", "flan-templates", "natural-instructions", "vocab", "gpt2"),
    )
    fetch.add_argument(
        "--version", help="release of PromptSource (0.2.3) or Natural Instructions (v2.8)"
    )
    fetch.add_argument(
        "--source",
        help="for vocab and gpt2: a local file; for flan-templates: a checkout of google-research/FLAN;"
        " for natural-instructions: an archive",
    )
    fetch.add_argument("--sha256", help="for natural-instructions: what the archive must have")
    fetch.add_argument(
        "--as_released",
        action="store_true",
        help="for flan-templates: keep the known slips of the released texts",
    )


def _fetch(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    if options.what == "promptsource":
        from instrux.prompts.releases import fetch_promptsource

        print(fetch_promptsource(options.version or "0.2.3"))
    elif options.what == "flan-templates":
        from instrux.prompts.flan_release import fetch_flan_templates

        print(fetch_flan_templates(options.source, as_released=options.as_released))
    elif options.what == "natural-instructions":
        from launch.natural_instructions import fetch

        print(fetch(options.version, source=options.source, sha256=options.sha256))
    elif options.what == "gpt2":
        from instrux.data.byte_pairs_release import fetch_gpt2_merges

        print(fetch_gpt2_merges(options.source))
    else:
        from instrux.data.vocabulary_release import fetch_t5_vocabulary

        print(fetch_t5_vocabulary(options.source))
    return 0
