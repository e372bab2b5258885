"""The commands that make or use models: train, select, evaluate, predict, convert and score."""

import argparse
import os

from instrux.errors import InputError
from launch import entry
from launch.cli_options import MODULE_IMPORT_HELP, AddCommand, refuse


def add_commands(add: AddCommand) -> None:
    """Declares the commands."""
    for declare in (_add_gin_stages, _add_convert, _add_score):
        declare(add)


def _add_gin_stages(add: AddCommand) -> None:
    for name, function, what in (
        ("train", _gin_stage("train"), "train a model"),
        ("select", _gin_stage("select"), "choose a run's checkpoint on tasks it was trained on"),
        (
            "select_by_score",
            _gin_stage("select_by_score"),
            "choose a run's checkpoint by a scorer of what it writes",
        ),
        (
            "evaluate",
            _evaluate,
            "evaluate a model over rendered tasks, or (--labels) by people's answers",
        ),
        ("predict", _predict, "answer inputs with a trained model"),
    ):
        command = add(name, function, f"{what}, configured by gin: --gin.NAME=VALUE")
        # `evaluate` takes --hf or --labels in its place.
        required = name != "evaluate"
        command.add_argument(
            "--gin_file",
            action="append",
            required=required,
            help="yours, or a shipped one such as runs/finetune.gin; may be repeated",
        )
        command.add_argument(
            "--gin_search_paths", default="", help="folders for gin files, comma-separated"
        )
        command.add_argument(
            "--module_import", action="append", default=[], help=MODULE_IMPORT_HELP
        )

        if name == "evaluate":
            _add_evaluation_of_folder(command)
            _add_evaluation_of_labels(command)


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
    command.add_argument(
        "--out", help="with --hf: gets eval/<step>/; with --labels: the page; NAME-evaluation"
    )
    command.add_argument("--vocabulary", help="with --hf: where the folder has no tokenizer")
    command.add_argument("--inputs_length", type=int, help="with --hf: tokens of inputs; 1024")
    command.add_argument("--targets_length", type=int, help="with --hf: tokens of targets; 256")
    command.add_argument(
        "--inputs_eos",
        action="store_true",
        default=None,
        help="with --hf: end inputs as Flan-T5 was trained, and T0 was not",
    )


def _add_evaluation_of_labels(command: argparse.ArgumentParser) -> None:
    """Options of an evaluation of what people said."""
    command.add_argument(
        "--labels",
        nargs="+",
        metavar="FILE",
        help="evaluate what people said about outputs: files of `instrux studio label`, or"
        " open-instruct's annotations; takes no gin",
    )
    command.add_argument("--baseline", help="with --labels: the system win rates are against")
    command.add_argument("--json", action="store_true", help="with --labels: JSON to stdout")


_OF_LABELS = ("baseline", "json")
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
    if options.labels is not None:
        return _evaluate_labels(options, rest)
    for name in _OF_LABELS:
        if getattr(options, name):
            raise InputError(f"evaluate: --{name} goes with --labels")
    given = {name: value for name in _OF_FOLDER if (value := getattr(options, name)) is not None}
    if options.hf is None:
        if options.gin_file is None:
            raise InputError(
                "evaluate: give --gin_file for a run, --hf for a folder, or --labels for what"
                " people said; see --help"
            )
        if given:
            raise InputError(f"evaluate: --{next(iter(given))} goes with --hf; a run takes --gin.…")
        return _gin_stage("evaluate")(options, rest)
    from launch.evaluate import evaluate

    refuse(rest)
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


def _evaluate_labels(options: argparse.Namespace, rest: list[str]) -> int:
    from launch.evaluate_labels import evaluate_label_files

    refuse(rest)
    for name in ("gin_file", "hf", *_OF_FOLDER):
        if name != "out" and getattr(options, name) is not None:
            raise InputError(f"evaluate: --labels takes no --{name}; see --help")
    evaluate_label_files(
        options.labels, baseline=options.baseline, out=options.out, as_json=options.json
    )
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


def _add_convert(add: AddCommand) -> None:
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
            help=f"{what}: t5x, hf, instrux, or peft for adapters, and where",
        )
    convert.add_argument(
        "--vocabulary",
        help="a SentencePiece model, a tokenizer.json, `bytes` or `gpt2`, if none lies there",
    )
    convert.add_argument("--model", help="a gin file with MODEL, for a T5X model's settings")
    convert.add_argument(
        "--base", help="from peft: the checkpoint they stand beside; to peft: its name on the hub"
    )
    convert.add_argument("--step", type=int, help="which of several checkpoints; the newest")
    convert.add_argument(
        "--dtype", default="float32", help="to hf or t5x: float32, bfloat16, float16"
    )
    convert.add_argument("--scanned", action="store_true", help="to t5x: as its scalable_t5 has it")
    convert.add_argument("--inputs_length", type=int, help="to instrux: of a row; 1024")
    convert.add_argument("--targets_length", type=int, help="to instrux: of a row; 256")


def _convert(options: argparse.Namespace, rest: list[str]) -> int:
    from launch.convert import ConvertSettings, convert, gin_model
    from launch.convert_adapters import convert_adapters
    from launch.foreign import PEFT

    refuse(rest)
    settings = ConvertSettings(
        dtype=options.dtype,
        scanned=options.scanned,
        inputs_length=options.inputs_length,
        targets_length=options.targets_length,
    )
    source, target = tuple(options.source), tuple(options.target)
    if PEFT in (source[0], target[0]):
        if options.model is not None or options.scanned:
            raise InputError("convert: --model and --scanned do not go with peft")
        made = convert_adapters(
            source,
            target,
            base=options.base,
            vocabulary=options.vocabulary,
            step=options.step,
            settings=settings,
        )
        print(made.out)
        return 0
    if options.base is not None:
        raise InputError("convert: --base goes with peft")
    made = convert(
        source,
        target,
        vocabulary=options.vocabulary,
        model=None if options.model is None else gin_model(options.model),
        step=options.step,
        settings=settings,
    )
    print(made.out)
    return 0


def _add_score(add: AddCommand) -> None:
    score = add("score", _score, "score predictions on Natural Instructions as its authors do")
    what = score.add_mutually_exclusive_group(required=True)
    what.add_argument("--predictions", help="predicted_examples.jsonl, or lines of id, prediction")
    what.add_argument("--evaluation", help="an evaluation's folder, such as RUN/eval")
    what.add_argument("--baseline", help="copy_demo or copy_input, on the tasks of --place")
    score.add_argument("--references", help="the leaderboard's file that goes with --predictions")
    score.add_argument(
        "--place",
        default="",
        help="checkout, archive or folder of task files: with --predictions of ids",
    )
    score.add_argument("--track", default="default", help="default or xlingual")
    score.add_argument("--gpt2_merges", help="GPT-2's merges.txt, for the track xlingual")
    score.add_argument("--out", help="file that gets all scores as JSON")


def _score(options: argparse.Namespace, rest: list[str]) -> int:
    from launch.natural_instructions import score_command

    refuse(rest)
    score_command(options)
    return 0
