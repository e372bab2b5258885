"""Which of a run's checkpoints is the best: a score for each, by one of two rules.

T0 takes the checkpoint with the highest score on the validation splits of the datasets it was
trained on, and looks at no held-out one (arXiv 2110.08207, section 5; its mixture
`t0_train_score_eval`). How the scores of many prompts become one is not said there. The rules:

    mean_of_dataset_medians   the median over a dataset's prompts, then the mean over datasets: as
                              the paper sums up a dataset, and no dataset outweighs another
    mean_of_tasks             the mean over all tasks: a dataset counts once a prompt
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from instrux.errors import InputError, did_you_mean
from instrux.evaluation.results import EvaluationResults, TaskResult


def mean_of_dataset_medians(tasks: Sequence[TaskResult]) -> float:
    """Mean over datasets of the median over prompts, in percent."""
    scores: dict[str, list[float]] = {}
    for task in tasks:
        scores.setdefault(task.dataset, []).append(task.score)
    return float(np.mean([np.median(prompts) for prompts in scores.values()]))


def mean_of_tasks(tasks: Sequence[TaskResult]) -> float:
    """Mean over tasks, in percent."""
    return float(np.mean([task.score for task in tasks]))


_Rule = Callable[[Sequence[TaskResult]], float]
RULES: Mapping[str, _Rule] = {
    "mean_of_dataset_medians": mean_of_dataset_medians,
    "mean_of_tasks": mean_of_tasks,
}


def find_rule(name: str) -> _Rule:
    """Gives a rule by its name.

    Raises:
        InputError: there is no such rule.
    """
    if name not in RULES:
        raise InputError(
            f"no rule is named {name!r}.{did_you_mean(name, RULES)} Rules: {', '.join(RULES)}."
        )
    return RULES[name]


def score_steps(evaluated: Mapping[int, EvaluationResults], rule: str) -> dict[int, float]:
    """Scores every step in percent, in order of step, rounded to six decimals.

    Tasks without an example count for nothing.

    Args:
        evaluated: step -> its results, all of the same tasks.
        rule: a key of `RULES`.

    Raises:
        InputError: there is no such rule, or no task has an example.
    """
    score = find_rule(rule)
    found = {}
    for step, results in sorted(evaluated.items()):
        tasks = [task for task in results.tasks if task.num_examples]
        if not tasks:
            raise InputError("select: no task has an example to score; render another split.")
        found[step] = round(score(tasks), 6)
    return found


def best_step(scores: Mapping[int, float]) -> int:
    """Gives the step of the highest score; the earliest of equals, which was trained the least."""
    return min(scores, key=lambda step: (-scores[step], step))
