"""Names of tasks: T0's rule, what SeqIO admits, and other spellings of the same name."""

import re

from instrux.errors import InputError

SCORE_EVAL_SUFFIX = "_score_eval"
"""T0's suffix for the twin of a task that is evaluated by rank classification."""

_LEGAL = re.compile(r"[\w.:#]+")  # SeqIO's own pattern for names of tasks
_LEGAL_MIXTURE = re.compile(r"[\w.:#+]+")  # SeqIO has none for mixtures; T0's have a plus
_NOT_IN_A_NAME = re.compile(r"[^\w.]+")


def task_name(dataset: str, config: str | None, template: str, *, prefix: str = "") -> str:
    """Gives the name of a dataset's task by T0's rule.

    The parts are joined by underscores, and every run of characters other than letters, digits,
    dots and underscores becomes one underscore; nothing is stripped, so that a name may end in
    one.

    Args:
        dataset: the dataset's name.
        config: its configuration or subset, or None.
        template: the template's name.
        prefix: goes before it unchanged, such as `acme:`.
    """
    parts = [dataset, template] if config is None else [dataset, config, template]
    return prefix + _NOT_IN_A_NAME.sub("_", "_".join(parts))


def check_task_name(name: str) -> str:
    """Gives `name` back if SeqIO admits it for a task.

    Raises:
        InputError: it has other characters.
    """
    return _check(name, "task", _LEGAL)


def check_mixture_name(name: str) -> str:
    """Gives `name` back if it will do for a mixture and for the folder that holds it.

    Raises:
        InputError: it has other characters.
    """
    return _check(name, "mixture", _LEGAL_MIXTURE)


def _check(name: str, kind: str, legal: re.Pattern[str]) -> str:
    if not legal.fullmatch(name):
        better = _NOT_IN_A_NAME.sub("_", name).strip("_") or "acme:faq"
        raise InputError(
            f"{kind} name {name!r}: use letters, digits and . : _ # only, such as {better!r}"
        )
    return name


def undotted(name: str) -> str:
    """Gives the spelling that the published P3 uses in some places: `3.0.0` as `3_0_0`."""
    return name.replace(".", "_")
