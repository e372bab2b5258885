"""Options that pass through to Beam, checked before the job starts."""

from collections.abc import Sequence

from launch.cli_options import UnknownArgument


def checked(arguments: Sequence[str]) -> list[str]:
    """Gives the arguments back if Beam knows every one of them.

    Beam itself only logs an option that it does not know, so a misspelt `--runner` would run
    the job somewhere else.

    Raises:
        UnknownArgument: an argument is no option of Beam.
    """
    if not arguments:
        return []
    known = _known_flags()
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            raise UnknownArgument(flag, known)
    if not arguments[0].startswith("--"):
        raise UnknownArgument(arguments[0])
    return list(arguments)


def _known_flags() -> set[str]:
    from apache_beam.options import pipeline_options

    parser = pipeline_options._BeamArgumentParser(add_help=False, conflict_handler="resolve")
    for options in pipeline_options.PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)  # the one door Beam has to its list of options
    return {flag for action in parser._actions for flag in action.option_strings}
