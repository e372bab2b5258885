"""T0's eight mixtures (arXiv 2110.08207, section 5 and appendix; rates as in its public code).

    t0_train                       313 tasks: training mixture of T0
    t0+_train                      392 tasks: and the datasets of GPT-3's evaluation
    t0++_train                     464 tasks: and SuperGLUE without its NLI sets
    t0_train_one_og_prompt          35 tasks: one original-task prompt a dataset (p = 1)
    t0_train_all_og_prompts        222 tasks: all original-task prompts (p = 5.7)
    t0_train_score_eval             89 tasks: choice of a checkpoint, on training datasets
    t0_eval_score_eval             116 tasks: held-out evaluation
    bias_fairness_eval_score_eval   16 tasks: CrowS-Pairs and WinoGender

and one that T0's code does not have, since WinoBias has no answer choices to rank:

    bias_fairness_eval_generation   28 tasks: WinoBias, whose answers are generated

A task is drawn in proportion to the number of its training examples; where a data(sub)set has
more than 500,000, each of its tasks in proportion to 500,000 divided by the number of its
templates, all of them counted even where a mixture uses a few. Rates are not cuts of the data.

In T0's code three of them had other names before 2022 (`d4_train`, `d4_gpt_train`,
`d4_gpt_sglue_train`), and one template of WSC another name when T0 was evaluated; commands take
these too. Ablations are in `mixtures.t0_ablations`, and other forms by suffix in `tasks.variants`.

T0's code also has a list of 24 tasks that are left out of training; none of them exists under
its own names, so there is nothing to leave out.
"""

import itertools
import re
from collections.abc import Iterable, Mapping

from instrux.data import registration
from tasks import t0, variants  # noqa: F401  (forms of these by suffix)
from tasks.t0_table import LARGE_DATASET

# Left out of the choice of a checkpoint: tasks with one of these in their names, ...
_NOT_IN_SELECTION = (
    "paws_labeled_final",
    "adversarial_qa_dbidaf",
    "adversarial_qa_dbert",
    "duorc_ParaphraseRC",
    "dream",
    "amazon_polarity",
    "app_reviews",
    "imdb",
    "wiki_bio",
    "gigaword",
    "multi_news",
    "samsum",
    "dbpedia_14",
    "trec",
    # ... and these five, named one by one in T0's code.
    "wiki_hop_original_choose_best_object",
)

OLD_NAMES: Mapping[str, str] = {
    "d4_train": "t0_train",
    "d4_gpt_train": "t0+_train",
    "d4_gpt_sglue_train": "t0++_train",
    "super_glue_wsc.fixed_Who_is_are": "super_glue_wsc.fixed_Who_or_what_is_are",
    "super_glue_wsc.fixed_Who_is_are_score_eval": (
        "super_glue_wsc.fixed_Who_or_what_is_are_score_eval"
    ),
}
"""Names of the past -> present names."""


def trained_on(*groups: str) -> list[t0.T0Task]:
    """Gives the tasks of the training groups of T0's table: `BASE`, `GPT_EVAL`, `SGLUE`."""
    return [task for task in t0.tasks() if task.dataset.train_group in groups]


def train_rates(tasks: Iterable[t0.T0Task]) -> Mapping[str, int]:
    """Gives each task its rate of a training mixture."""
    return {task.name: task.dataset.rate for task in tasks}


def _score_eval_rates(tasks: Iterable[t0.T0Task]) -> Mapping[str, int]:
    """Rates of an evaluation mixture, which SeqIO asks for and no evaluation uses."""
    return {
        task.score_eval_name: min(task.dataset.train_examples or 1, LARGE_DATASET)
        for task in tasks
        if task.score_eval_name is not None
    }


def _first_of_each_dataset(tasks: Iterable[t0.T0Task]) -> list[t0.T0Task]:
    by_dataset = itertools.groupby(tasks, key=lambda task: task.dataset)
    return [next(group) for _, group in by_dataset]


def _register() -> None:
    base = trained_on("BASE")
    original = [task for task in base if task.template.original_task]
    held_out = [task for task in t0.tasks() if task.dataset.eval_group == "BASE"]
    bias = [task for task in t0.tasks() if task.dataset.eval_group == "BIAS_FAIRNESS"]
    mixtures = {
        "t0_train": train_rates(base),
        "t0+_train": train_rates(trained_on("BASE", "GPT_EVAL")),
        "t0++_train": train_rates(trained_on("BASE", "GPT_EVAL", "SGLUE")),
        "t0_train_one_og_prompt": train_rates(_first_of_each_dataset(original)),
        "t0_train_all_og_prompts": train_rates(original),
        "t0_train_score_eval": _score_eval_rates(
            task for task in original if not any(part in task.name for part in _NOT_IN_SELECTION)
        ),
        "t0_eval_score_eval": _score_eval_rates(
            task for task in held_out if task.template.original_task
        ),
        "bias_fairness_eval_score_eval": _score_eval_rates(bias),
        "bias_fairness_eval_generation": {
            task.name: 1 for task in bias if task.dataset.dataset == "wino_bias"
        },
    }
    for name, rates in mixtures.items():
        registration.add_mixture(name, rates)
    for old in OLD_NAMES:
        pattern = re.escape(old).replace(r"\.", "[._]")
        registration.add_name_family(old, pattern, lambda _, old=old: OLD_NAMES[old], names=tuple)


_register()
