"""The command `audit`, and what it tells on the screen."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launch import beam_options
from launch.cli_options import MODULE_IMPORT_HELP, AddCommand, add_leave_out
from launch.tables import Tables


def add_command(add: AddCommand) -> None:
    """Declares the command."""
    audit = add("audit", _audit, "lengths, duplicates, labels and overlap of a mixture, in Beam")
    audit.add_argument("--mixture", required=True, help="mixture, or a task")
    audit.add_argument("--data_dir", required=True, help="folder with rendered/; gets audit/")
    audit.add_argument(
        "--vocabulary", required=True, help="a SentencePiece model, a tokenizer.json, or `bytes`"
    )
    audit.add_argument("--split", default="train", help="split of the tasks")
    audit.add_argument("--inputs_length", type=int, default=1024, help="tokens that training keeps")
    audit.add_argument("--targets_length", type=int, default=256, help="tokens that training keeps")
    audit.add_argument(
        "--held_out",
        action="append",
        help="evaluation mixture or glob over tasks to look for overlap with; those declared for "
        "the mixture when left out; may be repeated",
    )
    audit.add_argument(
        "--held_out_split",
        action="append",
        help="rendered split of the held-out tasks; validation and test when left out",
    )
    audit.add_argument(
        "--overlap_size",
        type=int,
        action="append",
        help="words of the n-grams that must not be shared; 8 and 13 when left out",
    )
    audit.add_argument(
        "--overlap_most_rows",
        type=int,
        default=10,
        help="n-grams that more held-out rows share are a template's own and do not count",
    )
    audit.add_argument("--likeness", type=float, default=0.8, help="of near duplicates, Jaccard")
    audit.add_argument("--shingle_words", type=int, default=5, help="words that are compared")
    audit.add_argument("--bands", type=int, default=20, help="MinHash keys of a row")
    audit.add_argument("--band_rows", type=int, default=6, help="hash functions behind a key")
    audit.add_argument(
        "--no_near_duplicates", action="store_true", help="leave out what takes most of the time"
    )
    audit.add_argument("--seed", type=int, default=0, help="of the hash functions")
    audit.add_argument("--out", help="folder to write; under DATA_DIR/audit when left out")
    audit.add_argument("--json", action="store_true", help="for a program to read")
    add_leave_out(audit)
    audit.add_argument("--module_import", action="append", default=[], help=MODULE_IMPORT_HELP)


def _audit(options: argparse.Namespace, rest: list[str]) -> int:
    from instrux.data.audit_settings import AuditSettings
    from instrux.data.vocabularies import VocabularySpec
    from launch import stages

    given: dict[str, Any] = {
        "held_out_splits": options.held_out_split,
        "overlap_sizes": options.overlap_size,
    }
    settings = AuditSettings(
        mixture=options.mixture,
        vocabulary=VocabularySpec.parse(options.vocabulary),
        split=options.split,
        inputs_length=options.inputs_length,
        targets_length=options.targets_length,
        near_duplicates=not options.no_near_duplicates,
        likeness=options.likeness,
        shingle_words=options.shingle_words,
        bands=options.bands,
        band_rows=options.band_rows,
        overlap_most_rows=options.overlap_most_rows,
        leave_out=tuple(options.leave_out),
        leave_out_missing=options.leave_out_missing,
        seed=options.seed,
        **{name: value for name, value in given.items() if value},
    )
    result = stages.audit(
        settings=settings,
        data_dir=options.data_dir,
        held_out=options.held_out,
        out=options.out,
        module_imports=options.module_import,
        beam_args=beam_options.checked(rest),
    )
    if options.json:
        print(json.dumps(result.results, indent=1, ensure_ascii=False))
    else:
        tell_audit(result.results, result.folder)
    return 0


def tell_audit(results: Mapping[str, Any], folder: Path) -> None:
    """Prints a summary of an audit."""
    tables = Tables()
    totals = results["totals"]
    tables.line(
        f"{results['mixture']}, {results['split']}: {totals['examples']:,} examples of "
        f"{totals['tasks']:,} tasks over {totals['datasets']:,} datasets"
    )
    tables.table(
        "Lengths in tokens",
        ["side", "mean", "median", "95 %", "longest", "room", "examples cut", "tokens cut"],
        [_length_row(results, side) for side in ("inputs", "targets")],
    )
    tables.table("Found", ["rows", "of all", "what", "list"], _found_rows(results))
    if results["overlap"]["sizes"]:
        tables.table(
            "Held-out rows that training rows share words with",
            ["rows", *(f"{n} words" for n in results["overlap"]["sizes"]), "dataset"],
            _overlap_rows(results["overlap"]),
        )
    tables.table(
        "Licences",
        ["share", "tasks", "datasets", "licence"],
        [
            [
                f"{each['share_asked']:.1%}",
                f"{each['tasks']:,}",
                f"{len(each['datasets']):,}",
                each["licence"],
            ]
            for each in results["licences"]
        ],
    )
    for line in _cautions(results):
        tables.line(line)
    tables.line()
    tables.line(f"Report: {folder / 'report.html'}")


def _length_row(results: Mapping[str, Any], side: str) -> list[str]:
    found = results["totals"][side]
    quantiles = found["quantiles"]
    return [
        side,
        f"{found['mean']:,.1f}",
        f"{quantiles['0.5']:,}",
        f"{quantiles['0.95']:,}",
        f"{quantiles['1']:,}",
        f"{results['settings'][f'{side}_length']:,}",
        f"{found['cut_examples_share']:.2%}",
        f"{found['cut_tokens_share']:.2%}",
    ]


def _found_rows(results: Mapping[str, Any]) -> list[Sequence[str]]:
    exact = results["duplicates"]["exact_duplicates"]
    near = results["duplicates"]["near_duplicates"]
    rows = [
        ("exact_duplicates", _worded("exact duplicates", exact)),
        ("near_duplicates", _worded("near duplicates", near)),
        ("same_inputs_other_targets", "inputs of an earlier row, other targets"),
        ("missing_choices", "targets that are none of the answer choices"),
        ("empty_targets", "empty targets"),
    ]
    rows += [
        (f"overlap_{n}", f"share {n} words in a row with a held-out row")
        for n in results["overlap"]["sizes"]
    ]
    examples = max(1, results["totals"]["examples"])
    return [
        [f"{count:,}", f"{count / examples:.2%}", what, f"{name}.jsonl"]
        for name, what in rows
        if what and (count := results["lists"][name]) is not None
    ]


def _worded(what: str, found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{what} of an earlier row ({found['within']:,} in one task, {found['across']:,} across)"


def _overlap_rows(overlap: Mapping[str, Any]) -> list[Sequence[str]]:
    by_size = [size["by_dataset"] for size in overlap["sizes"].values()]
    return [
        [f"{same[0]['rows']:,}", *(f"{each['overlapping']:,}" for each in same), same[0]["dataset"]]
        for same in zip(*by_size, strict=True)
    ]


def _cautions(results: Mapping[str, Any]) -> list[str]:
    found = []
    constant = [task["task"] for task in results["tasks"] if task["constant"]]
    if constant:
        found.append(
            f"Always the same target: {len(constant)} tasks, as {', '.join(constant[:3])}."
        )
    missing = results["overlap"]["not_rendered"]
    if missing:
        found.append(f"Overlap not known: {len(missing)} held-out tasks are not rendered.")
    elif not results["overlap"]["rows"]:
        found.append(
            "Overlap not known: no held-out tasks are declared for it; name some by --held_out."
        )
    return ["", *found] if found else []
