"""Mixtures of the lexicon suite.

Every task has the same share of a mixture, split evenly over its prompts, so mixtures with one,
three and seven prompts a task differ in nothing but the wording of their instructions.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from instrux.data import registration
from tasks.lexicon import LexiconPrompt, prompts_of

NUMBERS_OF_PROMPTS = (1, 3, 7)


def first_prompts(number: int) -> list[LexiconPrompt]:
    """Gives the first training prompts of every task, as many as `number`."""
    taken: Counter[str] = Counter()
    chosen = []
    for prompt in prompts_of("train"):
        if taken[prompt.task] < number:
            taken[prompt.task] += 1
            chosen.append(prompt)
    return chosen


def rates(prompts: Iterable[LexiconPrompt]) -> Mapping[str, float]:
    """Gives prompts their rates: 1 a task, split evenly."""
    prompts = list(prompts)
    of_task = Counter(prompt.task for prompt in prompts)
    return {prompt.name: 1 / of_task[prompt.task] for prompt in prompts}


def _register() -> None:
    held_out_tasks = {prompt.task for prompt in prompts_of("held_out_cluster")}
    without = [each for each in prompts_of("no_instructions") if each.task not in held_out_tasks]
    mixtures = {
        "lexicon_train": prompts_of("train"),
        **{f"lexicon_train_p{number}": first_prompts(number) for number in NUMBERS_OF_PROMPTS},
        "lexicon_no_instructions": without,
        "lexicon_heldout_prompts": prompts_of("held_out"),
        "lexicon_heldout_cluster": prompts_of("held_out_cluster"),
    }
    for name, prompts in mixtures.items():
        registration.add_mixture(name, rates(prompts))


_register()
