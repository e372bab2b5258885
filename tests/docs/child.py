"""Runs commands one after another in this process, and writes what each gave: status and screens.

Reads a JSON list of `{"words": …, "environment": …}` from standard input; its argument is the file
for the answers.
"""

import argparse
import contextlib
import io
import json
import os
import runpy
import sys
from pathlib import Path
from unittest import mock


class _Parsed(BaseException):
    """A script's own parser has taken its arguments."""


def _run(words: list[str]) -> int:
    if words[0] == "python":
        return _parse(words[1:])
    from launch import cli

    return cli.main(words[1:])


def _parse(words: list[str]) -> int:
    """Runs a script up to the point where its parser has taken its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(*given, **named):
        parse(*given, **named)
        raise _Parsed

    script = str(Path(__file__).resolve().parents[2] / words[0])
    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", parsed),
        mock.patch.object(sys, "argv", [script, *words[1:]]),
        mock.patch.object(sys, "path", [str(Path(script).parent), *sys.path]),
    ):
        try:
            runpy.run_path(script, run_name="__main__")
        except _Parsed:
            return 0
        except SystemExit as end:
            return int(end.code or 0)
    return 1


def _main() -> None:
    answers = []
    for command in json.load(sys.stdin):
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.dict(os.environ, command["environment"]),
        ):
            status = _run(command["words"])
        answers.append({"status": status, "out": out.getvalue(), "err": err.getvalue()})
    Path(sys.argv[1]).write_text(json.dumps(answers), encoding="utf-8")


_main()
