"""Mixtures of the Flan Collection's chain-of-thought sets (arXiv 2301.13688).

    cot_zsopt_train, cot_fsopt_train    all nine sets, and at weight 0.3 their inverted twins
    cot_sample_train                    five of them, evenly: aqua, ecqa, gsm8k, qasc, sensemaking
    cot_sample_without_{SET}_train      four of the five; `_eval` is the one that is left out
    cot_sample_without_{SET}_no_template_train   the same without instructions

registered when first asked for. The sample needs some hundred lines of each file, and none of the
two files that the repository stores elsewhere (esnli, qed).
"""

import re

from instrux.data import registration
from instrux.data.name_families import spelled
from instrux.prompts.flan_2022 import dataset_rate
from tasks import flan_cot

SAMPLE = ("aqua", "ecqa", "gsm8k", "qasc", "sensemaking")


def _add_form(match: re.Match[str]) -> str:
    shots = {"zsopt": "zero_shot", "fsopt": "five_shot"}[match["form"]]
    rates = {}
    for name in flan_cot.SETS:
        rows = flan_cot.train_rows(name)
        rates[flan_cot.add(name, shots)] = dataset_rate("cot", rows)
        rates[flan_cot.add(name, f"inverted_{shots}")] = dataset_rate("cot", rows, inverted=True)
    return registration.add_mixture(match[0], rates)


def _add_sample(match: re.Match[str]) -> str:
    form = "no_template" if match["bare"] else "zero_shot"
    left_out = match["set"]
    if match["use"] == "eval":
        chosen = [left_out] if left_out else SAMPLE
    else:
        chosen = [name for name in SAMPLE if name != left_out]
    return registration.add_mixture(match[0], {flan_cot.add(name, form): 1 for name in chosen})


def _register() -> None:
    registration.add_name_family(
        "cot_{zsopt,fsopt}_train", r"cot_(?P<form>zsopt|fsopt)_train", _add_form
    )
    registration.add_name_family(
        "cot_sample[_without_{SET}][_no_template]_{train,eval}",
        rf"cot_sample(?:_without_(?P<set>{'|'.join(SAMPLE)}))?(?P<bare>_no_template)?_(?P<use>train|eval)",
        _add_sample,
        names=lambda: spelled(
            "cot_sample[_without_{SET}][_no_template]_{train,eval}", {"SET": SAMPLE}
        ),
    )


_register()
