"""The commands `show` and `verify`: what made a folder of ours, and whether it still is that."""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instrux.progress import progress
from launch.cli_options import AddCommand, refuse
from launch.entry import USAGE_STATUS

if TYPE_CHECKING:
    from instrux.data.artefact_checks import Link, Problem
    from instrux.data.artefacts import Artefact

_SHOWN = 5
_LONGEST_VALUE = 100


def add_commands(add: AddCommand) -> None:
    """Declares the commands."""
    show = add("show", _show, "what a folder is, what made it and from what")
    show.add_argument(
        "path", help="any folder or file that Instrux wrote, or a folder with such folders below it"
    )
    show.add_argument("--all", action="store_true", help="every source, not the first few")
    show.add_argument("--json", action="store_true", help="for a program to read")
    verify = add("verify", _verify, "check digests and counts; exit status 2 if any is wrong")
    verify.add_argument("path", help="as for show; a --data_dir checks all that it holds")
    verify.add_argument(
        "--chain", action="store_true", help="check what it was made from as thoroughly"
    )
    verify.add_argument("--json", action="store_true", help="for a program to read")


# --- show --------------------------------------------------------------------------------------


def _show(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from instrux.data.artefact_search import find_artefacts

    artefacts = find_artefacts(options.path)
    if options.json:
        print(json.dumps([_tree(each) for each in artefacts], indent=1, ensure_ascii=False))
        return 0
    for number, artefact in enumerate(artefacts):
        if number:
            print()
        for line in _lines(artefact, everything=options.all):
            print(line)
    return 0


def _tree(artefact: "Artefact") -> dict[str, Any]:
    from instrux.data.artefact_checks import as_json, links_of

    links = [
        {
            **as_json_source(link),
            "state": link.state,
            "artefact": None if link.artefact is None else _tree(link.artefact),
        }
        for link in links_of(artefact)
    ]
    return {**as_json(artefact), "sources": links}


def as_json_source(link: "Link") -> dict[str, Any]:
    """A source as plain data."""
    return vars(link.source)


def _lines(artefact: "Artefact", *, everything: bool, indent: str = "") -> Iterator[str]:
    from instrux.data.artefact_checks import links_of

    yield f"{indent}{artefact.kind} {artefact.name}  ({artefact.folder})"
    inner = f"{indent}  "
    if not artefact.complete:
        yield f"{inner}NOT FINISHED"
    if artefact.sealed is False:
        yield f"{inner}CHANGED since it was written: {artefact.manifest.name}"
    for title, values in (
        ("made by", artefact.versions),
        ("arguments", artefact.arguments),
        ("settings", _own_settings(artefact)),
        ("counts", artefact.counts),
        ("dropped", artefact.dropped),
    ):
        if told := _worded(values):
            yield f"{inner}{title + ':':<11}{told}"
    yield f"{inner}files:     {_size_of(artefact)}"
    yield from _source_lines(links_of(artefact), everything=everything, indent=inner)


def _size_of(artefact: "Artefact") -> str:
    if not artefact.files:
        return "none recorded"
    size = sum(file.bytes for file in artefact.files)
    worded = f"{size:,} bytes" if size < 1e5 else f"{size / 1e6:,.2f} MB"
    return f"{len(artefact.files):,}, {worded}"


def _own_settings(artefact: "Artefact") -> dict[str, Any]:
    """The settings, without those that are told as sources."""
    told = {"tasks", "sources", "held_out", "vocabulary", "vocabularies", "template", "source"}
    told |= {"fingerprint", "dataset", "config", "source_split", "inputs"}
    return {name: value for name, value in artefact.settings.items() if name not in told}


def _source_lines(links: Sequence["Link"], *, everything: bool, indent: str) -> Iterator[str]:
    for kind, several in _by_kind(links).items():
        if len(several) > 1:
            yield f"{indent}from {_summed(kind, several)}"
        shown = several if everything else several[:_SHOWN]
        for link in shown:
            yield f"{indent}from {_source(link)}"
            if link.artefact is None:
                continue
            if len(several) == 1:
                yield from _lines(link.artefact, everything=everything, indent=f"{indent}    ")
            else:
                yield from _origins(link.artefact, indent=f"{indent}    ")
        if len(shown) < len(several):
            yield f"{indent}… and {len(several) - len(shown):,} more {kind} (--all)"


def _by_kind(links: Sequence["Link"]) -> dict[str, list["Link"]]:
    found: dict[str, list[Link]] = {}
    for link in links:
        found.setdefault(link.source.kind, []).append(link)
    return found


def _summed(kind: str, links: Sequence["Link"]) -> str:
    states = Counter(link.state for link in links)
    told = ", ".join(f"{count:,} {state}" for state, count in states.items())
    return f"{len(links):,} {kind}: {told}"


def _origins(artefact: "Artefact", *, indent: str) -> Iterator[str]:
    """One of many sources in a line: how much it holds, and what that was made from."""
    from instrux.data.artefact_checks import links_of

    counts = {name: artefact.counts[name] for name in ("examples",) if name in artefact.counts}
    dropped = {f"{reason} dropped": count for reason, count in artefact.dropped.items()}
    told = [
        text
        for kind, several in _by_kind(links_of(artefact)).items()
        for text in (map(_source, several) if len(several) <= _SHOWN else [_summed(kind, several)])
    ]
    yield indent + "; ".join(filter(None, [_worded(counts | dropped), *told]))


def _source(link: "Link") -> str:
    source = link.source
    name = f"{source.name}, {source.split}" if source.split else source.name
    state = "" if link.state == "not ours" else f"[{link.state}]"
    fingerprint = source.fingerprint.removeprefix("sha256:")[:12]
    return "  ".join(filter(None, (f"{source.kind} {name}", fingerprint, state)))


def _worded(values: Mapping[str, Any]) -> str:
    """Names and values; what was left out or is empty says nothing."""
    said = {name: value for name, value in values.items() if value not in (None, "", [], {}, ())}
    return ", ".join(f"{name} {_value(value)}" for name, value in said.items())


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
    return f"{value:,}"


# --- verify ------------------------------------------------------------------------------------


def _verify(options: argparse.Namespace, rest: list[str]) -> int:
    refuse(rest)
    from instrux.data.artefact_checks import extra_files
    from instrux.data.artefact_search import find_artefacts

    artefacts = find_artefacts(options.path)
    checked: list[Artefact] = []
    problems: list[Problem] = []
    with progress("verify", unit="files") as shown:
        for artefact in artefacts:
            problems += _check(artefact, checked, chain=options.chain)
            shown.update(sum(len(each.files) for each in checked), artefact.name)
    if Path(options.path).is_dir():
        problems += extra_files(artefacts)
    _tell(options, checked, list(dict.fromkeys(problems)))
    return USAGE_STATUS if problems else 0


def _check(artefact: "Artefact", checked: list["Artefact"], *, chain: bool) -> list["Problem"]:
    from instrux.data.artefact_checks import broken_links, links_of, problems_of

    if any(each.manifest == artefact.manifest for each in checked):
        return []
    checked.append(artefact)
    links = links_of(artefact, thorough=True)
    problems = [*problems_of(artefact), *broken_links(artefact, links)]
    if chain:
        for link in links:
            if link.artefact is not None:
                problems += _check(link.artefact, checked, chain=True)
    return problems


def _tell(
    options: argparse.Namespace, checked: Sequence["Artefact"], problems: Sequence["Problem"]
) -> None:
    files = sum(len(each.files) for each in checked)
    if options.json:
        found = [
            {"path": str(each.path), "what": each.what, "mend": each.mend} for each in problems
        ]
        print(json.dumps({"checked": len(checked), "files": files, "problems": found}, indent=1))
        return
    for problem in problems:
        print(problem)
    unrecorded = [each for each in checked if not each.files]
    for artefact in unrecorded:
        print(f"{artefact.folder}: {artefact.kind} without recorded digests; nothing to check")
    verdict = "all as written" if files else "no digests"
    if problems:
        verdict = f"{len(problems):,} {'problem' if len(problems) == 1 else 'problems'}"
    kinds = ", ".join(
        f"{count:,} {kind}" for kind, count in Counter(each.kind for each in checked).items()
    )
    print(f"{kinds}: {files:,} files, {verdict}")
