"""FLAN's datasets in the forms of the Flan Collection of 2022 (arXiv 2301.13688; its names of tasks).

Registered when first asked for, X being a dataset of `tasks.flan`:

    X_template_0to10_zero_shot                 all templates in turn
    X_template_0to10_non_deter_opt_zero_shot   options in a layout drawn for each example
    X_template_0to10_no_opt_zero_shot          options not shown
    X_template_mix[_no_opt]_five_shot          five exemplars, of whatever template
    X_template_0to10[_no_opt]_x_shot           exemplars of the query's template, 2.5 on average
    X_template_{0..9}_zero_shot, X_template_{0..9}[_no_opt]_{one,two,five}_shot    one template

Two names are told apart where the text is the same for a dataset without options: mixtures take the
first of these. Datasets keep the rows of `tasks.flan`: at most 30,000, as much as counts in 2022.
"""

import re
from dataclasses import dataclass

from instrux.data import registration
from instrux.data.flan_task import FlanTask
from instrux.errors import InputError
from instrux.prompts.flan import FlanForm, Options
from instrux.prompts.flan_few_shot import (
    DRAWN_FOR_ONE_TEMPLATE,
    MIXED_TEMPLATES_2022,
    ONE_TEMPLATE_2022,
    SHOTS,
)
from instrux.prompts.flan_prompts import FlanPromptsReference
from tasks.flan import DATASET_PATTERN, flan_task, register
from tasks.flan_keys import PROMPTS
from tasks.flan_table import FlanDataset, all_datasets, dataset

_OPTIONS: dict[str, Options] = {"": "fixed", "_no_opt": "none", "_non_deter_opt": "random"}
_SHOTS = ("zero", "one", "two", "five", "x")


@dataclass(frozen=True)
class FlanTask2022:
    """What the name of a task says.

    Attributes:
        dataset: its dataset.
        templates: `0to10`, `mix` or the number of one.
        options: empty, `_no_opt` or `_non_deter_opt`.
        shots: `zero`, `one`, `two`, `five` or `x`.
    """

    dataset: FlanDataset
    templates: str
    options: str
    shots: str

    @property
    def name(self) -> str:
        """The registered spelling."""
        return f"{self.dataset.name}_template_{self.templates}{self.options}_{self.shots}_shot"

    def task(self) -> FlanTask:
        """Gives the task as plain data.

        Raises:
            InputError: there is no such form.
        """
        expected = {"mix": ("five",), "0to10": ("zero", "x")}.get(self.templates, _SHOTS[:-1])
        drawn_and_few_shot = self.options == "_non_deter_opt" and self.shots != "zero"
        if self.shots not in expected or drawn_and_few_shot:
            raise InputError(
                f"{self.name}: no such form; there are template_0to10_zero_shot,"
                " template_0to10_x_shot, template_mix_five_shot and template_0_five_shot"
            )
        if self.options and not self.dataset.is_classification:
            raise InputError(f"{self.name}: {self.dataset.name} shows no options")
        only = int(self.templates) if self.templates.isdecimal() else None
        prompts = FlanPromptsReference(
            PROMPTS, self.dataset.name, FlanForm(_OPTIONS[self.options]), only=only
        )
        one_template = self.shots == "x"
        return flan_task(
            self.name,
            self.dataset,
            prompts,
            shots=DRAWN_FOR_ONE_TEMPLATE if one_template else {"zero": 0, **SHOTS}[self.shots],
            few_shot_form=ONE_TEMPLATE_2022 if one_template else MIXED_TEMPLATES_2022,
            drawn_layouts=self.shots != "zero",
        )


def add(name: FlanTask2022) -> str:
    """Registers a task, and gives its name."""
    return register(name.task(), score_eval=False)


def _add_matched(match: re.Match[str]) -> str:
    options = match["options"] or ""
    return add(FlanTask2022(dataset(match["dataset"]), match["templates"], options, match["shots"]))


def _register() -> None:
    registration.add_name_family(
        "DATASET_template_0to10_zero_shot, ... (Flan 2022)",
        rf"(?P<dataset>{DATASET_PATTERN})_template_(?P<templates>0to10|mix|\d)"
        rf"(?P<options>_no_opt|_non_deter_opt)?_(?P<shots>{'|'.join(_SHOTS)})_shot",
        _add_matched,
        kind="tasks",
        names=lambda: (f"{each}_template_0to10_zero_shot" for each in all_datasets()),
    )


_register()
