"""Who is asked what: a function of the seed, the tasks and the labellers alone.

Each task ranks the labellers of a group by a hash (rendezvous hashing), and asks the first one, or
the first `raters` where the task is in the overlap. So it does not matter who starts when; and a
labeller who joins or leaves moves only their own share of the tasks.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from instrux.studio.label.study import StudySettings


@lru_cache(maxsize=1 << 20)
def _draw(*parts: str | int) -> int:
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def overlap(tasks: Sequence[str], settings: StudySettings) -> set[str]:
    """The tasks that several labellers of a group answer: the share, rounded."""
    drawn = sorted(tasks, key=lambda task: _draw(settings.seed, "overlap", task))
    return set(drawn[: round(settings.share * len(tasks))])


def assigned(
    tasks: Sequence[str],
    labeller: str,
    *,
    group: Sequence[str],
    answered: Mapping[str, set[str]],
    settings: StudySettings,
) -> list[str]:
    """The tasks of one labeller, in the order to do them.

    Args:
        tasks: all tasks of the study.
        labeller: a labeller's name.
        group: names of the active labellers of the same group, this one among them.
        answered: task -> labellers of the group, active or not, who answered it: they keep it.
        settings: of the study.
    """
    several = overlap(tasks, settings)
    mine = [
        task
        for task in tasks
        if labeller in _asked(task, group, answered.get(task, set()), settings, task in several)
    ]
    return sorted(mine, key=lambda task: _draw(settings.seed, "order", labeller, task))


def _asked(
    task: str, group: Sequence[str], done: set[str], settings: StudySettings, several: bool
) -> set[str]:
    wanted = settings.raters if several else 1
    others = sorted(
        (name for name in group if name not in done),
        key=lambda name: _draw(settings.seed, "labeller", task, name),
    )
    return done | set(others[: max(0, wanted - len(done))])
