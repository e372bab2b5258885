"""The command `demonstrations`."""

import argparse

from launch import beam_options
from launch.cli_options import AddCommand


def add_commands(add: AddCommand) -> None:
    """Declares the command."""
    command = add(
        "demonstrations", _demonstrations, "prompts and people's answers to a task, through Beam"
    )
    command.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="FORMAT[:SOURCE[:KIND]]=PATH",
        help="a file or glob; formats: instrux, dolly, oasst, no_robots, self_instruct, alpaca, "
        "messages, prompt_response; sources: labeler, customer; kinds: plain, few_shot, "
        "user_based, api",
    )
    command.add_argument(
        "--name", required=True, help="of the set: task demonstrations_NAME, mixture sft_NAME"
    )
    command.add_argument("--data_dir", required=True, help="gets rendered/ and demonstrations/")
    _add_texts(command)
    _add_users(command)
    command.add_argument("--seed", type=int, default=0, help="of all choices")
    command.add_argument("--num_shards", type=int, help="files a split; from the rows if left out")
    command.add_argument(
        "--max_bad_share", type=float, default=0.01, help="share of rows that may be unreadable"
    )
    command.add_argument(
        "--licence",
        help="tag of the set's licence, such as cc-by-4.0; known for dolly, oasst, no_robots and"
        " self_instruct when left out",
    )
    command.add_argument("--json", action="store_true", help="print the counts as JSON")


def _add_texts(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--vocabulary",
        default="gpt2",
        help="counts tokens: gpt2, a merges.txt, a tokenizer.json, a SentencePiece model, or bytes",
    )
    command.add_argument("--max_tokens", type=int, default=2048, help="of prompt and completion")
    command.add_argument("--max_prompt_tokens", type=int, help="a longer prompt is left out")
    command.add_argument("--max_completion_tokens", type=int, help="likewise a completion")
    command.add_argument("--separator", default="", help="between prompt and completion")
    command.add_argument(
        "--prefix_tokens", type=int, default=64, help="words that near-duplicates start with"
    )
    command.add_argument(
        "--detect_languages", action="store_true", help="where rows say none (py3langid)"
    )
    command.add_argument("--language", action="append", default=[], help="to keep; all if left out")
    command.add_argument(
        "--few_shot_expansions", type=int, default=8, help="prompts made of a few-shot one"
    )
    command.add_argument("--max_shots", type=int, default=5, help="pairs shown in one of them")


def _add_users(command: argparse.ArgumentParser) -> None:
    command.add_argument("--prompts_a_user", type=int, default=200, help="at most")
    command.add_argument("--validation_share", type=float, default=0.1, help="of the users")
    command.add_argument("--test_share", type=float, default=0.1, help="of the users")
    command.add_argument(
        "--declared_splits", action="store_true", help="a split that a row brings counts"
    )
    command.add_argument(
        "--personal_data",
        choices=("patterns", "presidio", "keep"),
        default="patterns",
        help="how it is found; it is removed from the training split alone",
    )
    command.add_argument(
        "--personal_data_kind",
        action="append",
        help="for the patterns: email, phone, ip_address, card_number, bank_account, national_id; "
        "these when left out, and street_address when asked; for presidio its names of entities",
    )
    command.add_argument(
        "--personal_data_model",
        default="en_core_web_lg",
        help="the spaCy model that presidio takes: an installed package or a folder "
        "(en_core_web_lg)",
    )


def _demonstrations(options: argparse.Namespace, rest: list[str]) -> int:
    from launch.demonstrations import demonstrations

    given = vars(options)
    same = (
        *("name", "data_dir", "vocabulary", "max_tokens", "max_prompt_tokens"),
        *("max_completion_tokens", "separator", "prefix_tokens", "detect_languages"),
        *("few_shot_expansions", "max_shots", "prompts_a_user", "validation_share", "test_share"),
        *(
            "declared_splits",
            "personal_data",
            "personal_data_model",
            "seed",
            "num_shards",
            "max_bad_share",
            "licence",
        ),
    )
    settings = {name: given[name] for name in same}
    if options.personal_data_kind:
        settings["personal_data_kinds"] = tuple(options.personal_data_kind)
    demonstrations(
        inputs=options.input,
        languages=tuple(options.language),
        beam_args=beam_options.checked(rest),
        as_json=options.json,
        **settings,
    )
    return 0
