"""FLAN's templates: ten for a dataset in a fixed order, and which of them an example gets.

A template key is a folder with a `templates.yaml`, ours or the released one as `flan_release` stores
it. Several datasets may share a key. The order of the file counts: templates that ask for the usual
answer come first and those that turn the task around last, so that "the first n" means the same
for everybody.
"""

import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from instrux.errors import InputError, did_you_mean
from instrux.prompts.template import SEPARATOR, Template
from instrux.prompts.template_files import FILE_NAME, templates_in_order

TEMPLATE_COUNTS = (1, 2, 4, 7, 10)
"""How many templates the released ablation takes from the start of the list."""

_SHARED_KEYS = (
    (re.compile(r".*para_crawl.*"), "para_crawl"),
    (re.compile(r".*wmt16_translate.*"), "wmt16_translate"),
    (re.compile(r"arc_(challenge|easy)"), "arc"),
    (re.compile(r"anli_r[123]"), "anli"),
    (re.compile(r"mnli_matched|mnli_mismatched"), "mnli"),
    (re.compile(r"cot_\w+_inverted"), "cot_inverted"),
    (re.compile(r"cot_\w+"), "cot"),
)
_OPTIONS_SLOT = re.compile(r"\s*\{\{-?\s*options_(?:str)?\s*-?\}\}")


def template_key(dataset: str) -> str:
    """Gives the key of the templates that a dataset uses: `anli_r1` -> `anli`.

    Sets with a chain of thought are `cot_gsm8k` and, inverted, `cot_gsm8k_inverted`.
    """
    for pattern, key in _SHARED_KEYS:
        if pattern.fullmatch(dataset):
            return key
    return dataset


@functools.lru_cache(maxsize=1024)
def load_key(folder: str | os.PathLike[str], key: str) -> tuple[Template, ...]:
    """Reads the templates of a key, in the order of the file.

    White space around `|||` is the file's layout and not part of the prompt, so it is taken out;
    values then come through with their own.

    Raises:
        InputError: there is no such key in the folder, or its file is wrong.
    """
    path = Path(folder) / key / FILE_NAME
    if not path.is_file():
        known = sorted(each.parent.name for each in Path(folder).glob(f"*/{FILE_NAME}"))
        raise InputError(f"{folder} has no templates for {key!r}.{did_you_mean(key, known)}")
    templates = templates_in_order(path, f"flan/{key}")
    return tuple(tight(template) for template in templates.values())


def tight(template: Template) -> Template:
    """Takes the white space around `|||` out of a template's source."""
    parts = template.jinja.split(SEPARATOR)
    last = len(parts) - 1
    parts = [part.lstrip() if index else part for index, part in enumerate(parts)]
    parts = [part.rstrip() if index < last else part for index, part in enumerate(parts)]
    return dataclasses.replace(template, jinja=SEPARATOR.join(parts))


def forward(templates: Sequence[Template]) -> tuple[Template, ...]:
    """Gives the templates that ask for the usual answer; only these are evaluated."""
    return tuple(each for each in templates if not each.metadata.turned_around)


def shows_options(template: Template) -> bool:
    """Whether the inputs have a place for the answer options."""
    return _OPTIONS_SLOT.search(template.jinja) is not None


def without_options(template: Template) -> Template:
    """Takes the place of the options out, with the white space before it."""
    jinja = _OPTIONS_SLOT.sub("", template.jinja)
    if jinja == template.jinja:
        return template
    metadata = dataclasses.replace(template.metadata, choices_in_prompt=False)
    inputs, separator, targets = jinja.partition(SEPARATOR)
    return dataclasses.replace(
        template, jinja=inputs.strip() + separator + targets, metadata=metadata
    )


def template_index(example_id: str, count: int, *, seed: int | None = None) -> int:
    """Says which of `count` templates an example gets.

    Without a seed it is the example's row number modulo `count`: every row is used once, with one
    template, and none is dropped. (The released code batches rows by tens and drops what is left
    over.) With a seed it is drawn from a hash of seed and id.

    Args:
        example_id: `dataset/config/split/row`.
        count: the number of templates.
        seed: of the draw; None for the row number.

    Raises:
        InputError: there are no templates, or the id does not end in a row number and no seed is
            given.
    """
    if count < 1:
        raise InputError(f"{example_id}: no template to choose from; give at least one")
    if seed is not None:
        name = f"{seed}:flan-template:{example_id}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(name, digest_size=16).digest()
        return int.from_bytes(digest, "big") % count
    row = example_id.rpartition("/")[2]
    if not row.isdecimal():
        raise InputError(
            f"example id {example_id!r} does not end in a row number; give a seed to draw templates"
        )
    return int(row) % count
