"""What each of FLAN's 61 template keys must have: fields, targets, turned-around templates.

The table beside this module was made from the released code's fields and from its count of templates
that turn the task around (google-research/FLAN, `flan/templates.py`). Our templates lie in
`flan_prompts/<key>/templates.yaml`.
"""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

PROMPTS = Path(__file__).with_name("flan_prompts")
"""The bundled templates, in our own words."""
COT_PROMPTS = Path(__file__).with_name("flan_cot_prompts")
"""Templates for questions with a chain of thought, forward (`cot`) and inverted."""
_TABLE = Path(__file__).with_name("flan_template_keys.csv")


@dataclass(frozen=True)
class TemplateKey:
    """One template key; several datasets may share it.

    Attributes:
        key: its name, and the folder of its templates.
        cluster: the task cluster that its datasets belong to.
        needed: fields that a forward template must show; where there are several ways (two
            directions of translation), one of them.
        optional: further fields that rows have.
        targets: the usual target field of each way.
        options_field: `options_`, `options_str`, or empty where there are no options.
        turned_around: how many of the released ten turn the task around.
    """

    key: str
    cluster: str
    needed: tuple[frozenset[str], ...]
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
        needed=tuple(frozenset(way.split()) for way in row["needed"].split("|")),
        optional=frozenset(row["optional"].split()),
        targets=tuple(row["targets"].split("|")),
        options_field=row["options"],
        turned_around=int(row["turned_around"]),
    )
