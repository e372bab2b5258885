"""The commands that make data: render, cache, audit, pack, export, vocab and check."""

import argparse

from launch import beam_options, cli_audit
from launch.cli_options import (
    MODULE_IMPORT_HELP,
    AddCommand,
    add_exclude,
    add_leave_out,
    add_leave_out_missing,
    add_names,
    names,
    refuse,
)


def add_commands(add: AddCommand) -> None:
    """Declares the commands."""
    for declare in (_add_render, _add_cache, _add_pack, _add_export, _add_vocab, _add_check):
        declare(add)
    cli_audit.add_command(add)


def _add_render(add: AddCommand) -> None:
    render = add("render", _render, "raw rows to rendered TFRecords, through Beam")
    add_names(render)
    render.add_argument("--data_dir", required=True, help="folder that gets rendered/")
    render.add_argument("--split", action="append", help="split to render; all when left out")
    render.add_argument(
        "--mirror", action="append", default=[], help="folder of raw rows, looked into first"
    )
    render.add_argument("--num_shards", type=int, help="files a split; from the rows if left out")
    render.add_argument(
        "--max_bad_share", type=float, default=0.01, help="share of rows that may fail"
    )
    render.add_argument(
        "--allow_missing_fields",
        action="store_true",
        help="render templates that name a field which no row has",
    )
    render.add_argument(
        "--skip_failing_sources",
        action="store_true",
        help="leave out datasets that cannot be read, told at the end and in "
        "rendered/failed_sources.json",
    )


def _render(options: argparse.Namespace, rest: list[str]) -> int:
    from launch import stages

    beam_args = beam_options.checked(rest)
    stages.render(
        names=names(options),
        data_dir=options.data_dir,
        splits=options.split,
        mirror=options.mirror,
        module_imports=options.module_import,
        beam_args=beam_args,
        num_shards=options.num_shards,
        max_bad_share=options.max_bad_share,
        allow_missing_fields=options.allow_missing_fields,
        skip_failing_sources=options.skip_failing_sources,
    )
    return 0


def _add_cache(add: AddCommand) -> None:
    cache = add("cache", _cache, "rendered tasks to a SeqIO cache, through Beam")
    add_names(cache)
    cache.add_argument("--data_dir", required=True, help="folder that gets cache/")
    cache.add_argument("--split", action="append", help="split to cache; all when left out")
    add_leave_out_missing(cache, told="by name")


def _cache(options: argparse.Namespace, rest: list[str]) -> int:
    from launch import stages

    beam_args = beam_options.checked(rest)
    stages.cache(
        names=names(options),
        data_dir=options.data_dir,
        splits=options.split,
        leave_out_missing=options.leave_out_missing,
        module_imports=options.module_import,
        beam_args=beam_args,
    )
    return 0


def _add_pack(add: AddCommand) -> None:
    pack = add("pack", _pack, "a mixed, packed and shuffled training set, through Beam")
    pack.add_argument("--mixture", required=True, help="mixture to sample by its rates")
    pack.add_argument("--data_dir", required=True, help="folder with rendered/; gets packed/")
    pack.add_argument("--split", default="train", help="split of the tasks")
    pack.add_argument(
        "--vocabulary", required=True, help="a SentencePiece model, a tokenizer.json, or `bytes`"
    )
    pack.add_argument("--inputs_length", type=int, default=1024, help="tokens of inputs a row")
    pack.add_argument("--targets_length", type=int, default=256, help="tokens of targets a row")
    pack.add_argument("--num_examples", type=int, required=True, help="examples to sample")
    pack.add_argument(
        "--num_shards", type=int, help="files; one per 100,000 examples when left out"
    )
    pack.add_argument("--seed", type=int, default=0, help="of sampling and shuffling")
    pack.add_argument(
        "--one_example_a_row", action="store_true", help="rows are not filled with several"
    )
    pack.add_argument(
        "--joined", action="store_true", help="one sequence a row, for decoder-only models"
    )
    add_leave_out(pack)
    add_exclude(pack)
    pack.add_argument("--module_import", action="append", default=[], help=MODULE_IMPORT_HELP)


def _pack(options: argparse.Namespace, rest: list[str]) -> int:
    from instrux.data.packed import PackSettings
    from instrux.data.vocabularies import VocabularySpec
    from launch import stages

    settings = PackSettings(
        mixture=options.mixture,
        split=options.split,
        inputs_length=options.inputs_length,
        targets_length=options.targets_length,
        vocabulary=VocabularySpec.parse(options.vocabulary),
        num_examples=options.num_examples,
        num_shards=options.num_shards,
        seed=options.seed,
        leave_out=tuple(options.leave_out),
        leave_out_missing=options.leave_out_missing,
        leave_out_emptied=options.leave_out_emptied,
        exclude=tuple(options.exclude),
        one_example_a_row=options.one_example_a_row,
        joined=options.joined,
    )
    stages.pack(
        settings=settings,
        data_dir=options.data_dir,
        module_imports=options.module_import,
        beam_args=beam_options.checked(rest),
    )
    return 0


def _add_export(add: AddCommand) -> None:
    export = add("export", _export, "a mixture as JSON lines or Parquet, for use elsewhere")
    export.add_argument("--mixture", required=True, help="mixture, or a task")
    export.add_argument("--data_dir", required=True, help="folder with rendered/")
    export.add_argument("--format", required=True, help="jsonl or parquet")
    export.add_argument("--split", default="train", help="split of the tasks")
    export.add_argument("--out", help="folder to write; under DATA_DIR/exported when left out")
    export.add_argument(
        "--num_examples",
        type=int,
        help="rows to draw by the rates, shuffled; every rendered example when left out",
    )
    export.add_argument("--seed", type=int, default=0, help="of drawing and shuffling")
    export.add_argument("--shard_size", type=int, default=100_000, help="rows a file")
    add_leave_out(export)
    add_exclude(export)
    export.add_argument("--module_import", action="append", default=[], help=MODULE_IMPORT_HELP)


def _export(options: argparse.Namespace, rest: list[str]) -> int:
    from instrux.data.export_files import check_format
    from launch import stages
    from pipelines.export import ExportSettings

    refuse(rest)
    settings = ExportSettings(
        mixture=options.mixture,
        format=check_format(options.format),
        split=options.split,
        num_examples=options.num_examples,
        seed=options.seed,
        shard_size=options.shard_size,
        leave_out=tuple(options.leave_out),
        leave_out_missing=options.leave_out_missing,
        leave_out_emptied=options.leave_out_emptied,
        exclude=tuple(options.exclude),
    )
    result = stages.export(
        settings=settings,
        data_dir=options.data_dir,
        out=options.out,
        module_imports=options.module_import,
    )
    print(result.folder)
    return 0


def _add_vocab(add: AddCommand) -> None:
    vocab = add("vocab", _vocab, "train a SentencePiece model on rendered text")
    vocab.add_argument("--task", action="append", required=True, help="glob over rendered tasks")
    vocab.add_argument("--data_dir", required=True, help="folder with rendered/; gets vocab/")
    vocab.add_argument("--size", type=int, required=True, help="pieces")


def _vocab(options: argparse.Namespace, rest: list[str]) -> int:
    from pipelines.vocab import vocab

    refuse(rest)
    vocab(tasks=options.task, data_dir=options.data_dir, size=options.size)
    return 0


def _add_check(add: AddCommand) -> None:
    check = add("check", _check, "hold Natural Instructions task files against their own rules")
    check.add_argument("place", help="checkout, archive, folder of task files, or one task file")


def _check(options: argparse.Namespace, rest: list[str]) -> int:
    from launch.natural_instructions import check

    refuse(rest)
    check(options.place)
    return 0
