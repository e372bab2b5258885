"""The part of the Flan Collection (arXiv 2301.13688) that is made of FLAN's own 69 datasets.

    flan69_zsopt_train     zero-shot, options in drawn layouts
    flan69_fsopt_train     few-shot: five exemplars of any template, or those of the query's
    flan69_zsnoopt_train   zero-shot, options not shown
    flan69_fsnoopt_train   few-shot likewise
    flan69_2022_train      the four of them, evenly

registered when first asked for. They hold 69 of the 71 datasets of the released `flan_zsopt` and
its like, which have LAMBADA and UnifiedQA's science questions besides; hence other names. Rates are
a dataset's rows, at most 30,000; a dataset with two tasks in a form has them on each, as released.

T0's prompts, Natural Instructions, chains of thought and dialogue are no part of it; the weights of
all five are in `instrux.prompts.flan_2022`.
"""

import re

from instrux.data import registration
from instrux.prompts.flan_2022 import FORMS, dataset_rate
from tasks import flan_2022
from tasks.flan_2022 import FlanTask2022
from tasks.flan_table import FlanDataset, released

_ALL = "flan69_2022_train"


def form_tasks(form: str, of: FlanDataset) -> list[FlanTask2022]:
    """Gives the tasks of a dataset in a form.

    Args:
        form: `zsopt`, `fsopt`, `zsnoopt` or `fsnoopt`.
        of: the dataset.
    """
    ranked = of.is_classification
    options = "_no_opt" if form.endswith("noopt") and ranked else ""
    if form.startswith("fs"):
        return [
            FlanTask2022(of, "mix", options, "five"),
            FlanTask2022(of, "0to10", options, "x"),
        ]
    if form == "zsopt" and ranked:
        options = "_non_deter_opt"
    return [FlanTask2022(of, "0to10", options, "zero")]


def _add_form(match: re.Match[str]) -> str:
    rates = {
        flan_2022.add(task): dataset_rate("flan2021", of.train_examples or 0)
        for of in released()
        for task in form_tasks(match["form"], of)
    }
    return registration.add_mixture(match[0], rates)


def _add_all(match: re.Match[str]) -> str:
    return registration.add_mixture(
        match[0], {f"flan69_{form}_train": 1 for form in FORMS["flan2021"]}
    )


def _register() -> None:
    forms = "|".join(FORMS["flan2021"])
    registration.add_name_family(
        "flan69_{zsopt,fsopt,zsnoopt,fsnoopt}_train", rf"flan69_(?P<form>{forms})_train", _add_form
    )
    registration.add_name_family(_ALL, _ALL, _add_all)


_register()
