"""What each of FLAN's 61 template keys must have: fields, targets, turned-around templates.

The table beside this module was made from the released code's fields and from its count of templates
that turn the task around (google-research/FLAN, `flan/templates.py`). Our templates lie in
`flan_prompts/<key>/templates.yaml`.
"""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

from instrux.errors import InputError, did_you_mean
from instrux.prompts import Template
from instrux.prompts.flan_bare import bare_template, prefix_template

PROMPTS = Path(__file__).with_name("flan_prompts")
"""The bundled templates, in our own words."""
COT_PROMPTS = Path(__file__).with_name("flan_cot_prompts")
"""Templates for questions with a chain of thought, forward (`cot`) and inverted."""
CONTINUATIONS = Path(__file__).with_name("flan_continuations")
"""Prompts to be gone on with, for a model that was not tuned; for 23 keys."""
_TABLE = Path(__file__).with_name("flan_template_keys.csv")


@dataclass(frozen=True)
class TemplateKey:
    """One template key; several datasets may share it.

    Attributes:
        key: its name, and the folder of its templates.
        cluster: the task cluster that its datasets belong to.
        needed: fields that a forward template must show, in the order in which they are read; where
            there are several ways (two directions of translation), those of each.
        optional: further fields that rows have.
        targets: the usual target field of each way.
        options_field: `options_`, `options_str`, or empty where there are no options.
        turned_around: how many of the released ten turn the task around.
    """

    key: str
    cluster: str
    needed: tuple[tuple[str, ...], ...]
    optional: frozenset[str]
    targets: tuple[str, ...]
    options_field: str
    turned_around: int

    @property
    def fields(self) -> frozenset[str]:
        """All fields that rows have for templates, the options apart."""
        return self.optional.union(*self.needed, self.targets)


@functools.cache
def template_keys() -> dict[str, TemplateKey]:
    """Gives all keys by name, in the table's order."""
    with _TABLE.open(encoding="utf-8", newline="") as lines:
        return {row["key"]: _key(row) for row in csv.DictReader(lines)}


def _key(row: dict[str, str]) -> TemplateKey:
    return TemplateKey(
        key=row["key"],
        cluster=row["cluster"],
        needed=tuple(tuple(way.split()) for way in row["needed"].split("|")),
        optional=frozenset(row["optional"].split()),
        targets=tuple(row["targets"].split("|")),
        options_field=row["options"],
        turned_around=int(row["turned_around"]),
    )


def bare_templates(
    key: str, *, dataset: str = "", with_options: bool = False
) -> tuple[Template, ...]:
    """Gives what takes the templates' place in the ablation without instructions.

    Translation has two, one for each direction, and shows the sentence alone.

    Args:
        key: a template key.
        dataset: the name to put in brackets before the input; empty for none.
        with_options: whether the options are listed where there are any.

    Raises:
        InputError: there is no such key.
    """
    if key not in template_keys():
        raise InputError(f"no FLAN template key {key!r}.{did_you_mean(key, template_keys())}")
    entry = template_keys()[key]
    made = []
    for fields, target in zip(entry.needed, entry.targets, strict=True):
        named = [field for field in fields if field in ("lang1", "lang2")]
        name = f"{dataset} to {{{{{named[0]}}}}}" if dataset and named else dataset
        made.append(
            bare_template(
                [field for field in fields if field not in named],
                target,
                dataset=name,
                options=entry.options_field if with_options else "",
            )
        )
    return tuple(made)


def prefix_templates(key: str) -> tuple[Template, ...]:
    """Gives what shows the inputs as a text to go on with; see `flan_bare.prefix_template`.

    Raises:
        InputError: there is no such key.
    """
    if key not in template_keys():
        raise InputError(f"no FLAN template key {key!r}.{did_you_mean(key, template_keys())}")
    ways = template_keys()[key].needed
    texts = [[field for field in way if field not in ("lang1", "lang2")] for way in ways]
    return tuple(prefix_template(fields) for fields in texts)
