"""Runs one stage of a recipe: the process that `launch.recipe` starts for each."""

import argparse
import sys
from collections.abc import Sequence

import gin

from launch import declarations, entry, gin_config, stages


def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m launch.run_stage", description=__doc__)
    parser.add_argument("stage", help="NAME or SCOPE/NAME")
    parser.add_argument("--gin_file", required=True)
    parser.add_argument("--module_import", action="append", default=[])
    options, rest = parser.parse_known_args(arguments)
    scope, _, name = options.stage.rpartition("/")
    gin_config.parse([options.gin_file], entry.gin_bindings(rest))
    if options.module_import and name in stages.NAMES_USING_THE_REGISTRY:
        declarations.load(options.module_import)
    function = stages.function(name)
    given = {}
    if options.module_import and name in stages.NAMES_THAT_MAY_USE_THE_REGISTRY:
        given["module_imports"] = tuple(options.module_import)
    with gin.config_scope(scope or None):
        gin.get_configurable(function)(**given)
    return 0


if __name__ == "__main__":
    sys.exit(entry.guarded(_main, sys.argv[1:]))
