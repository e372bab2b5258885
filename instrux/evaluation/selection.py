"""Which rendered tasks are evaluated, on which examples, and as part of which group."""

import fnmatch
import hashlib
import heapq
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from instrux.data.examples import RenderedExample
from instrux.data.rendered import RenderedSplit, RenderManifest, rendered_task_names
from instrux.data.task_names import SCORE_EVAL_SUFFIX
from instrux.errors import InputError, did_you_mean
from instrux.progress import tell


@dataclass(frozen=True)
class EvaluationTask:
    """One rendered task to evaluate.

    Attributes:
        rendered: the split on disk.
        about: what its manifest says.
        group: why it is evaluated, such as `held-out prompts`, or "".
        max_examples: how many examples are evaluated at most; all where None.
    """

    rendered: RenderedSplit
    about: RenderManifest
    group: str = ""
    max_examples: int | None = None

    @property
    def name(self) -> str:
        """The task's name."""
        return self.rendered.task_name

    @property
    def num_examples(self) -> int:
        """How many examples will be evaluated."""
        return min(self.about.examples, _or_all(self.max_examples, self.about.examples))

    def examples(self) -> list[RenderedExample]:
        """Reads the examples.

        With `max_examples` they are those whose ids have the smallest hashes, so that all prompts
        of a dataset get the same rows.
        """
        if self.max_examples is None:
            return list(self.rendered.read())
        return heapq.nsmallest(
            self.max_examples, self.rendered.read(), key=lambda example: _hash(example.example_id)
        )


def _or_all(limit: int | None, count: int) -> int:
    return count if limit is None else limit


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def select_tasks(
    data_dir: str | os.PathLike[str],
    patterns: Sequence[str],
    *,
    split: str,
    groups: Mapping[str, str] | None = None,
    max_examples: int | None = None,
    original_task_only: bool = False,
    allow_missing: bool = False,
) -> list[EvaluationTask]:
    """Finds the rendered tasks that names or globs ask for, in order of pattern, then of name.

    Args:
        data_dir: folder that holds `rendered/`.
        patterns: task names or globs (`super_glue_rte_*`); a `_score_eval` twin means its task.
        split: the split to evaluate; tasks that a glob found and that lack it are left out.
        groups: name or glob -> name of the group its tasks belong to; the first that fits counts.
        max_examples: examples a task at most.
        original_task_only: leaves out prompts that turn the dataset's task around (T0, sec. 6).
        allow_missing: whether what is not rendered is left out and told, where it would be an
            error.

    Raises:
        InputError: a pattern finds nothing, or a named task lacks the split; or nothing at all
            is found.
    """
    if max_examples is not None and max_examples < 1:
        raise InputError(f"max_examples is {max_examples}; give 1 or more, or None for all.")
    known = rendered_task_names(data_dir)
    if not known:
        raise InputError(
            f"{data_dir}: no rendered tasks in {os.path.join(data_dir, 'rendered')};"
            " `instrux render` makes them."
        )
    if not patterns:
        raise InputError("no task to evaluate: name tasks, globs over tasks, or mixtures.")
    found: dict[str, EvaluationTask] = {}
    missing: list[str] = []
    for pattern in patterns:
        names = _matches(pattern, known)
        if not names:
            missing.append(pattern)
        for name in names:
            rendered = RenderedSplit(data_dir, name, split)
            is_there = rendered.completed().manifest_path.exists()
            named = name == pattern.removesuffix(SCORE_EVAL_SUFFIX)
            if named and not is_there and allow_missing:
                missing.append(pattern)
            elif named or is_there:
                group = group_of(name, groups or {})
                found.setdefault(
                    name, EvaluationTask(rendered, rendered.manifest(), group, max_examples)
                )
    _tell_missing(missing, patterns, known, data_dir, split, allowed=allow_missing)
    chosen = [task for task in found.values() if task.about.original_task or not original_task_only]
    if not chosen:
        raise InputError(
            f"no task to evaluate: of what {list(patterns)} finds in {data_dir}, nothing has a split"
            f" {split!r}{' and an original-task prompt' if original_task_only else ''};"
            " render that split or name another."
        )
    return chosen


def _matches(pattern: str, known: Sequence[str]) -> list[str]:
    return fnmatch.filter(known, pattern) or fnmatch.filter(
        known, pattern.removesuffix(SCORE_EVAL_SUFFIX)
    )


def _tell_missing(
    missing: Sequence[str],
    patterns: Sequence[str],
    known: Sequence[str],
    data_dir: str | os.PathLike[str],
    split: str,
    *,
    allowed: bool,
) -> None:
    if missing and not allowed:
        pattern, others = missing[0], len(missing) - 1
        raise InputError(
            f"no rendered task in {data_dir} is named {pattern!r}"
            f"{f' (and so with {others} more of {len(patterns)})' if others else ''}."
            f"{did_you_mean(pattern, known)} `instrux render --task {pattern}` renders it;"
            " `allow_missing` leaves out what is not there."
        )
    if missing:
        names = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        tell(
            f"LEFT OUT, not rendered for {split!r}: {len(missing)} of {len(patterns)} tasks asked"
            f" for: {names}"
        )


def group_of(name: str, groups: Mapping[str, str]) -> str:
    """The group of a task: that of the first name or glob that fits, or ""."""
    return next(
        (group for pattern, group in groups.items() if fnmatch.fnmatchcase(name, pattern)), ""
    )
