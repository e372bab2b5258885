"""Runs `instrux` with the stages of a recipe in this process, as each in its own would cost more than
its work; but not in the tests' own, whose registry may hold the same tasks with another vocabulary.
"""

import sys
from collections.abc import Sequence

from instrux.progress import tell
from launch import cli, recipe, run_stage


def _run_group(group: Sequence[str], options: Sequence[str]) -> list[int]:
    statuses = []
    for stage in group:
        tell(f"stage {stage}")
        statuses.append(run_stage._main([stage, *options]))
    return statuses


recipe._run_group = _run_group
sys.exit(cli.main(sys.argv[1:]))
