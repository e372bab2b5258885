"""Prompts of the kind that people send to an assistant: real ones, for evaluation only."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from instrux.data.mirror import mirrored_file
from instrux.errors import InputError

USER_ORIENTED = ("user_oriented_instructions.jsonl", "instruct/user_oriented_instructions.jsonl")
VICUNA = ("vicuna_questions.jsonl", "instruct/vicuna_questions.jsonl")
_USER_ORIENTED_HOME = "human_eval/user_oriented_instructions.jsonl of yizhongw/self-instruct"
_VICUNA_HOME = "the question file of lm-sys/FastChat"


def user_oriented_rows(split: str) -> Iterator[dict[str, str]]:
    """Self-Instruct's 252 user-oriented instructions: `instruction`, `input`, `output`.

    Their authors ask not to train on them.

    Raises:
        InputError: no mirror has the file, or a line is wrong.
    """
    del split
    path = mirrored_file(USER_ORIENTED, home=_USER_ORIENTED_HOME)
    for where, row in _json_lines(path):
        try:
            first = row["instances"][0]
            yield {
                "instruction": row["instruction"],
                "input": first["input"],
                "output": first["output"],
            }
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(
                f"{where}: no user-oriented instruction (instruction, instances[0].input, .output)"
            ) from error


def vicuna_rows(split: str) -> Iterator[dict[str, str]]:
    """Vicuna's 80 open questions, as `instruction`; nobody's answers belong to them.

    Raises:
        InputError: as `user_oriented_rows`.
    """
    del split
    path = mirrored_file(VICUNA, home=_VICUNA_HOME)
    for where, row in _json_lines(path):
        try:
            yield {"instruction": row["turns"][0], "input": "", "output": ""}
        except (KeyError, IndexError, TypeError) as error:
            raise InputError(f"{where}: no question (turns[0])") from error


def _json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{path}:{number}", json.loads(line)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not lines of JSON ({error}).") from error
