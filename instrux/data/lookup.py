"""Finds registered tasks and mixtures by name, and tells near names where there is none.

A name of a family (`t0_train_p3`) is registered by being looked up here.
The functions that users call are to be had from `instrux.data.registration` too.
"""

import fnmatch
from collections.abc import Iterable

import seqio

from instrux.data.name_families import listed_names, register_from_family
from instrux.data.prompted_task import PromptedTask
from instrux.data.seqio_source import PromptedTaskSource
from instrux.data.task_names import undotted
from instrux.errors import InputError, did_you_mean

_HINT = "If it is one of yours, name its module with --module_import"


def prompted_task(name: str) -> PromptedTask:
    """Gives the plain data of a registered task; of the base task for a twin.

    Raises:
        InputError: there is no such task, or it was registered by other means.
    """
    source = seqio.TaskRegistry.get(find_name(name, mixtures=False)).source
    if not isinstance(source, PromptedTaskSource):
        raise InputError(
            f"task {name!r} is SeqIO's own, with no prompted task behind it; it can be cached and "
            "trained on, and not rendered"
        )
    return source.task


def resolve_names(patterns: Iterable[str]) -> list[str]:
    """Gives the names of the tasks that names of tasks, names of mixtures and globs stand for.

    A glob (`super_glue_*`) is matched against tasks, twins for rank classification included, and
    against mixtures; where it matches nothing that is registered, against the names that families
    list. Dots may be spelled as underscores.

    Returns:
        Names in the order of `patterns`, each once; those of a glob or a mixture are sorted.

    Raises:
        InputError: a name is unknown, or a glob matches nothing.
    """
    names: dict[str, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        for name in _matches(pattern):
            if name in seqio.MixtureRegistry.names():
                names.update(dict.fromkeys(t.name for t in seqio.MixtureRegistry.get(name).tasks))
            else:
                names[name] = None
    return list(names)


def mixture_rates(name: str) -> dict[str, float]:
    """Gives the rate of every task of a mixture, with mixtures inside it spread over theirs.

    A task is taken as a mixture of itself.

    Raises:
        InputError: there is no such mixture or task.
    """
    found = find_name(name)
    if found in seqio.TaskRegistry.names():
        return {found: 1.0}
    mixture = seqio.MixtureRegistry.get(found)
    return {task.name: mixture.get_rate(task) for task in mixture.tasks}


def find_name(name: str, *, mixtures: bool = True, whose: str = "") -> str:
    """Gives the registered spelling of a name; dots may be spelled as underscores.

    A name of a family is registered first, if it is not yet.

    Args:
        name: a task's or mixture's name.
        mixtures: whether it may be a mixture.
        whose: put before the complaint.

    Raises:
        InputError: nothing of that name is registered.
    """
    kind = "task or mixture" if mixtures else "task"
    known = {*seqio.TaskRegistry.names(), *(seqio.MixtureRegistry.names() if mixtures else ())}
    if name in known:
        return name
    spelled_otherwise = [other for other in known if undotted(other) == undotted(name)]
    if len(spelled_otherwise) == 1:
        return spelled_otherwise[0]
    if name not in seqio.MixtureRegistry.names():
        added = register_from_family(name)
        if added is not None and (mixtures or added in seqio.TaskRegistry.names()):
            return added
    if not mixtures and name in seqio.MixtureRegistry.names():
        raise InputError(f"{whose}{name!r} is a mixture, and a task is needed here")
    near = known | listed_names("tasks") | (listed_names("mixtures") if mixtures else set())
    raise InputError(f"{whose}unknown {kind} {name!r}.{did_you_mean(name, near)} {_HINT}.")


def _matches(pattern: str) -> list[str]:
    if not any(character in pattern for character in "*?["):
        return [find_name(pattern)]
    known = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
    if found := sorted(fnmatch.filter(known, pattern)):
        return found
    listed = listed_names("tasks") | listed_names("mixtures")
    if found := sorted(fnmatch.filter(listed, pattern)):
        return [find_name(name) for name in found]
    raise InputError(f"no task or mixture matches {pattern!r}. {_HINT}.")
