"""`instrux verify` as tests ask it."""

import json

from launch import cli


def verify(path, capsys, *options):
    """The exit status of `instrux verify`, and the problems that it tells."""
    status = cli.main(["verify", str(path), "--json", *options])
    return status, json.loads(capsys.readouterr().out)["problems"]
