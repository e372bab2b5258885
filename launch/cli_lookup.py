"""The commands that show what is registered and fetch what is public: tasks, mixtures, fetch."""

import argparse
from pathlib import Path
from typing import NamedTuple

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


class Fetched(NamedTuple):
    """What was fetched.

    Attributes:
        path: where it lies.
        release: its name and version.
        digest: of what is published; "" where none is pinned.
    """

    path: Path
    release: str
    digest: str


def _fetch(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from launch import fetch_lineage

    found = _FETCHES[options.what](options)
    given = {"what": options.what, "version": options.version, "source": options.source}
    fetch_lineage.record(found.path, found.release, arguments=given, digest=found.digest)
    print(found.path)
    return 0


def _fetch_promptsource(options: argparse.Namespace) -> Fetched:
    from instrux.prompts.releases import RELEASES, fetch_promptsource

    path = fetch_promptsource(options.version or "0.2.3")
    return Fetched(path, path.name, RELEASES[path.name].digest)


def _fetch_flan_templates(options: argparse.Namespace) -> Fetched:
    from instrux.prompts import flan_release

    path = flan_release.fetch_flan_templates(options.source, as_released=options.as_released)
    name = f"google-research/FLAN, {flan_release.FILE}"
    return Fetched(path, name, flan_release.SHA256 if options.source is None else "")


def _fetch_natural_instructions(options: argparse.Namespace) -> Fetched:
    from instrux.data.natural_instructions_release import RECORD
    from launch.fetch_lineage import archive_digest
    from launch.natural_instructions import fetch

    path = fetch(options.version, source=options.source, sha256=options.sha256)
    return Fetched(path, f"Natural Instructions, {path.name}", archive_digest(path / RECORD))


def _fetch_gpt2(options: argparse.Namespace) -> Fetched:
    from instrux.data.byte_pairs_release import GPT2_MERGES, fetch_gpt2_merges

    path = fetch_gpt2_merges(options.source)
    return Fetched(path, GPT2_MERGES.title, GPT2_MERGES.sha256)


def _fetch_vocabulary(options: argparse.Namespace) -> Fetched:
    from instrux.data.vocabulary_release import T5_VOCABULARY, fetch_t5_vocabulary

    path = fetch_t5_vocabulary(options.source)
    return Fetched(path, T5_VOCABULARY.title, T5_VOCABULARY.sha256)


_FETCHES = {
    "promptsource": _fetch_promptsource,
    "flan-templates": _fetch_flan_templates,
    "natural-instructions": _fetch_natural_instructions,
    "gpt2": _fetch_gpt2,
    "vocab": _fetch_vocabulary,
}
