"""Prompts for a model that was not tuned on instructions: texts that it can go on with.

FLAN's baselines are scored on such prompts, without options and without a wrapper. Labels are words
that fit the end of the text, and a premise of COPA ends in `because` or `so`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from instrux.prompts.flan_templates import template_key

LABELS: Mapping[str, Sequence[str]] = {
    "rte": ("true", "false"),
    "anli": ("true", "neither", "false"),
    "cb": ("true", "false", "neither"),
    "multirc": ("wrong.", "right."),
}
"""Words for the labels of a key, in the order of label ids.

The released code has cb's second and third in each other's place.
"""
_CONNECTORS = {"cause": " because", "effect": " so"}


def continuation_fields(dataset: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the fields of a row as its continuation prompt needs them.

    Args:
        dataset: such as `anli_r1`.
        fields: what `flan_fields.fields_of` gives.
    """
    key = template_key(dataset)
    changed = dict(fields)
    if key in LABELS:
        changed["options"] = list(LABELS[key])
        changed["answer"] = LABELS[key][list(fields["options"]).index(fields["answer"])]
    if key == "copa":
        changed["premise"] = fields["premise"][:-1] + _CONNECTORS[fields["question"]]
    return changed
