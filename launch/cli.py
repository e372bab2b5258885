"""The console script `instrux`: thin doors to the stages, to recipes and to the registries.

Exit status 0 is success, 2 a usage or input error told in one line, 1 a fault of ours with its
traceback. Progress goes to stderr, results to stdout.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import instrux
from instrux.errors import InputError, did_you_mean
from launch import beam_options, entry, show

_MODULE_IMPORT_HELP = "module that registers your own tasks, such as acme.tasks; may be repeated"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit status."""
    return entry.guarded(_dispatch, sys.argv[1:] if arguments is None else arguments)


def _dispatch(arguments: Sequence[str]) -> int:
    parser, commands = _parser()
    if not arguments:
        parser.print_help()
        return entry.USAGE_STATUS
    if not arguments[0].startswith("-") and arguments[0] not in commands:
        raise InputError(
            f"no command {arguments[0]!r}.{did_you_mean(arguments[0], commands)}"
            " `instrux --help` lists them."
        )
    options, rest = parser.parse_known_args(arguments)
    return options.function(options, rest)


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    parser = _Parser(
        prog="instrux",
        description="Instruction tuning from raw datasets to a published results table.",
        epilog="Start with `instrux quickstart`. Each command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=f"instrux {instrux.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, function, description: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=description,
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        command.set_defaults(function=function)
        return command

    run = add("run", _run, "run every stage of a recipe, in order, skipping what is complete")
    run.add_argument("recipe", help="a gin file, yours or a shipped one such as quickstart.gin")
    run.add_argument("--module_import", action="append", default=[], help=_MODULE_IMPORT_HELP)

    quickstart = add("quickstart", _quickstart, "run the bundled recipe: under ten minutes")
    quickstart.add_argument("--out", default="quickstart", help="folder for everything it makes")

    render = add("render", _render, "raw rows to rendered TFRecords, through Beam")
    _add_names(render)
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

    cache = add("cache", _cache, "rendered tasks to a SeqIO cache, through Beam")
    _add_names(cache)
    cache.add_argument("--data_dir", required=True, help="folder that gets cache/")
    cache.add_argument("--split", action="append", help="split to cache; all when left out")

    pack = add("pack", _pack, "a mixed, packed and shuffled training set, through Beam")
    pack.add_argument("--mixture", required=True, help="mixture to sample by its rates")
    pack.add_argument("--data_dir", required=True, help="folder with rendered/; gets packed/")
    pack.add_argument("--split", default="train", help="split of the tasks")
    pack.add_argument("--vocabulary", required=True, help="a SentencePiece model, or `bytes`")
    pack.add_argument("--inputs_length", type=int, default=1024, help="tokens of inputs a row")
    pack.add_argument("--targets_length", type=int, default=256, help="tokens of targets a row")
    pack.add_argument("--num_examples", type=int, required=True, help="examples to sample")
    pack.add_argument(
        "--num_shards", type=int, help="files; one per 100,000 examples when left out"
    )
    pack.add_argument("--seed", type=int, default=0, help="of sampling and shuffling")
    _add_leave_out(pack)
    pack.add_argument("--module_import", action="append", default=[], help=_MODULE_IMPORT_HELP)

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
    _add_leave_out(export)
    export.add_argument("--module_import", action="append", default=[], help=_MODULE_IMPORT_HELP)

    vocab = add("vocab", _vocab, "train a SentencePiece model on rendered text")
    vocab.add_argument("--task", action="append", required=True, help="glob over rendered tasks")
    vocab.add_argument("--data_dir", required=True, help="folder with rendered/; gets vocab/")
    vocab.add_argument("--size", type=int, required=True, help="pieces")

    for name, function, what in (
        ("train", _gin_stage("train"), "train a model"),
        ("select", _gin_stage("select"), "choose a run's checkpoint on tasks it was trained on"),
        ("evaluate", _evaluate, "evaluate a trained model over rendered tasks"),
        ("predict", _predict, "answer inputs with a trained model"),
    ):
        command = add(name, function, f"{what}, configured by gin: --gin.NAME=VALUE")
        # `evaluate` takes --hf in its place.
        required = name != "evaluate"
        command.add_argument(
            "--gin_file", action="append", required=required, help="may be repeated"
        )
        command.add_argument(
            "--gin_search_paths", default="", help="folders for gin files, comma-separated"
        )
        command.add_argument(
            "--module_import", action="append", default=[], help=_MODULE_IMPORT_HELP
        )

        if name == "evaluate":
            _add_evaluation_of_folder(command)

    convert = add("convert", _convert, "a checkpoint to another format, a tensor at a time")
    for flag, dest, what in (
        ("--from", "source", "what to read"),
        ("--to", "target", "what to write"),
    ):
        convert.add_argument(
            flag,
            dest=dest,
            nargs=2,
            required=True,
            metavar=("FORMAT", "PATH"),
            help=f"{what}: t5x, hf or instrux, and where",
        )
    convert.add_argument(
        "--vocabulary", help="a SentencePiece model or `bytes`, if none lies there"
    )
    convert.add_argument("--model", help="a gin file with MODEL, for a T5X model's settings")
    convert.add_argument("--step", type=int, help="which of several checkpoints; the newest")
    convert.add_argument("--dtype", default="float32", help="to hf or t5x: or bfloat16, float16")
    convert.add_argument("--scanned", action="store_true", help="to t5x: as its scalable_t5 has it")
    convert.add_argument("--inputs_length", type=int, default=1024, help="to instrux: of a row")
    convert.add_argument("--targets_length", type=int, default=256, help="to instrux: of a row")

    check = add("check", _check, "hold Natural Instructions task files against their own rules")
    check.add_argument("place", help="checkout, archive, folder of task files, or one task file")

    score = add("score", _score, "score predictions on Natural Instructions as its authors do")
    what = score.add_mutually_exclusive_group(required=True)
    what.add_argument("--predictions", help="predicted_examples.jsonl, or lines of id, prediction")
    what.add_argument("--evaluation", help="an evaluation's folder, such as RUN/eval")
    what.add_argument("--baseline", help="copy_demo or copy_input, on the tasks of --place")
    score.add_argument("--references", help="the leaderboard's file that goes with --predictions")
    score.add_argument("--place", default="", help="checkout, archive or folder of task files")
    score.add_argument("--track", default="default", help="default or xlingual")
    score.add_argument("--gpt2_merges", help="GPT-2's merges.txt, for the track xlingual")
    score.add_argument("--out", help="file that gets all scores as JSON")

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
            "--module_import", action="append", default=[], help=_MODULE_IMPORT_HELP
        )

    fetch = add("fetch", _fetch, "get public templates or a vocabulary into the cache folder")
    fetch.add_argument(
        "what", choices=("promptsource", "flan-templates", "natural-instructions", "vocab")
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
    return parser, list(commands.choices)


def _add_names(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--task", action="append", default=[], help="task or glob; may be repeated"
    )
    command.add_argument("--mixture", action="append", default=[], help="all tasks of a mixture")
    command.add_argument("--module_import", action="append", default=[], help=_MODULE_IMPORT_HELP)


def _add_leave_out(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--leave_out",
        action="append",
        default=[],
        help="glob over tasks and datasets to leave out, the other rates renormalised; may be "
        "repeated",
    )
    command.add_argument(
        "--leave_out_missing",
        action="store_true",
        help="leave out tasks that are not rendered, told with the share that is lost",
    )


def _names(options: argparse.Namespace) -> list[str]:
    names = [*options.task, *options.mixture]
    if not names:
        raise InputError("nothing to do: name tasks by --task or --mixture")
    return names


def _run(options: argparse.Namespace, rest: list[str]) -> int:
    from launch import recipe

    return recipe.run(
        options.recipe, entry.gin_bindings(rest), module_imports=options.module_import
    )


def _quickstart(options: argparse.Namespace, rest: list[str]) -> int:
    from launch import recipe

    bindings = [f"OUT={options.out!r}", *entry.gin_bindings(rest)]
    return recipe.run("recipes/quickstart.gin", bindings)


def _render(options: argparse.Namespace, rest: list[str]) -> int:
    from launch import stages

    stages.render(
        names=_names(options),
        data_dir=options.data_dir,
        splits=options.split,
        mirror=options.mirror,
        module_imports=options.module_import,
        beam_args=beam_options.checked(rest),
        num_shards=options.num_shards,
        max_bad_share=options.max_bad_share,
        allow_missing_fields=options.allow_missing_fields,
        skip_failing_sources=options.skip_failing_sources,
    )
    return 0


def _cache(options: argparse.Namespace, rest: list[str]) -> int:
    from launch import stages

    stages.cache(
        names=_names(options),
        data_dir=options.data_dir,
        splits=options.split,
        module_imports=options.module_import,
        beam_args=beam_options.checked(rest),
    )
    return 0


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
    )
    stages.pack(
        settings=settings,
        data_dir=options.data_dir,
        module_imports=options.module_import,
        beam_args=beam_options.checked(rest),
    )
    return 0


def _export(options: argparse.Namespace, rest: list[str]) -> int:
    from instrux.data.export_files import check_format
    from launch import stages
    from pipelines.export import ExportSettings

    _refuse(rest)
    settings = ExportSettings(
        mixture=options.mixture,
        format=check_format(options.format),
        split=options.split,
        num_examples=options.num_examples,
        seed=options.seed,
        shard_size=options.shard_size,
        leave_out=tuple(options.leave_out),
        leave_out_missing=options.leave_out_missing,
    )
    result = stages.export(
        settings=settings,
        data_dir=options.data_dir,
        out=options.out,
        module_imports=options.module_import,
    )
    print(result.folder)
    return 0


def _vocab(options: argparse.Namespace, rest: list[str]) -> int:
    from pipelines.vocab import vocab

    _refuse(rest)
    vocab(tasks=options.task, data_dir=options.data_dir, size=options.size)
    return 0


def _gin_stage(name: str):
    def run(options: argparse.Namespace, rest: list[str]) -> int:
        from launch import stages

        _configure(options, rest)
        _call(stages.function(name))
        return 0

    return run


def _add_evaluation_of_folder(command: argparse.ArgumentParser) -> None:
    """Options of an evaluation without gin; their defaults are those of `evaluate`."""
    command.add_argument("--hf", help="a Hugging Face folder to evaluate; takes no gin")
    command.add_argument("--data_dir", help="with --hf: folder that holds rendered/")
    command.add_argument("--task", action="append", help="with --hf: task or glob; may be repeated")
    command.add_argument("--split", help="with --hf: the split to evaluate; validation")
    command.add_argument("--max_examples", type=int, help="with --hf: examples a task at most")
    command.add_argument("--batch_size", type=int, help="with --hf: examples a batch; 32")
    command.add_argument("--out", help="with --hf: gets eval/<step>/; <folder>-evaluation")
    command.add_argument("--vocabulary", help="with --hf: where the folder has no spiece.model")
    command.add_argument("--inputs_length", type=int, help="with --hf: tokens of inputs; 1024")
    command.add_argument("--targets_length", type=int, help="with --hf: tokens of targets; 256")
    command.add_argument(
        "--inputs_eos",
        action="store_true",
        default=None,
        help="with --hf: end inputs as Flan-T5 was trained, and T0 was not",
    )


_OF_FOLDER = (
    "data_dir",
    "task",
    "split",
    "max_examples",
    "batch_size",
    "out",
    "vocabulary",
    "inputs_length",
    "targets_length",
    "inputs_eos",
)


def _evaluate(options: argparse.Namespace, rest: list[str]) -> int:
    given = {name: value for name in _OF_FOLDER if (value := getattr(options, name)) is not None}
    if options.hf is None:
        if options.gin_file is None:
            raise InputError(
                "evaluate: give --gin_file for a run, or --hf for a folder; see --help"
            )
        if given:
            raise InputError(f"evaluate: --{next(iter(given))} goes with --hf; a run takes --gin.…")
        return _gin_stage("evaluate")(options, rest)
    from launch.evaluate import evaluate

    _refuse(rest)
    if options.gin_file is not None:
        raise InputError("evaluate: --hf takes no --gin_file; see `instrux evaluate --help`")
    for name in ("data_dir", "task"):
        if name not in given:
            raise InputError(f"evaluate: --hf needs --{name}; see `instrux evaluate --help`")
    name = os.path.basename(os.path.normpath(options.hf))
    evaluate(
        checkpoint=options.hf,
        model_dir=given.pop("out", f"{name}-evaluation"),
        tasks=given.pop("task"),
        **given,
    )
    return 0


def _convert(options: argparse.Namespace, rest: list[str]) -> int:
    from launch.convert import ConvertSettings, convert, gin_model

    _refuse(rest)
    settings = ConvertSettings(
        dtype=options.dtype,
        scanned=options.scanned,
        inputs_length=options.inputs_length,
        targets_length=options.targets_length,
    )
    made = convert(
        tuple(options.source),
        tuple(options.target),
        vocabulary=options.vocabulary,
        model=None if options.model is None else gin_model(options.model),
        step=options.step,
        settings=settings,
    )
    print(made.out)
    return 0


def _predict(options: argparse.Namespace, rest: list[str]) -> int:
    from launch.predict import predict

    _configure(options, rest)
    _call(predict)
    return 0


def _configure(options: argparse.Namespace, rest: list[str]) -> None:
    from launch import declarations, gin_config

    search = [path for path in options.gin_search_paths.split(",") if path]
    gin_config.parse(options.gin_file, entry.gin_bindings(rest), search=search)
    if options.module_import:
        declarations.load(options.module_import)


def _call(function) -> None:
    import gin

    gin.get_configurable(function)()


def _show(options: argparse.Namespace, rest: list[str]) -> int:
    _refuse(rest)
    return show.show(options)


def _fetch(options: argparse.Namespace, rest: list[str]) -> int:
    _refuse(rest)
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


def _check(options: argparse.Namespace, rest: list[str]) -> int:
    from launch.natural_instructions import check

    _refuse(rest)
    check(options.place)
    return 0


def _score(options: argparse.Namespace, rest: list[str]) -> int:
    from launch.natural_instructions import score_command

    _refuse(rest)
    score_command(options)
    return 0


def _refuse(rest: Sequence[str]) -> None:
    if rest:
        raise InputError(f"unknown argument {rest[0]!r}; see `instrux --help`")


if __name__ == "__main__":
    sys.exit(main())
