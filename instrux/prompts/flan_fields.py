"""From a raw row of a FLAN dataset to the fields that its templates name.

The rows are those of TensorFlow Datasets, as plain data with texts decoded. Labels become answers in
words here, so that a template never sees a number.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from instrux.errors import InputError, did_you_mean
from instrux.prompts.flan_defects import checked
from instrux.prompts.flan_fields_choice import CANDIDATES, LABELLED, Fields
from instrux.prompts.flan_fields_text import FREE_TEXT, translation
from instrux.prompts.flan_templates import template_key

TRANSLATION_KEYS = ("para_crawl", "wmt14_enfr", "wmt16_translate")
COT_KEYS = ("cot", "cot_inverted")
_COT_FIELDS = ("question", "answer", "rationale")
_MAKERS = {**LABELLED, **CANDIDATES, **FREE_TEXT}
FIELD_KEYS = frozenset([*_MAKERS, *TRANSLATION_KEYS])
"""All template keys of FLAN: 61. Sets with a chain of thought have keys of their own, `COT_KEYS`."""


def fields_of(
    dataset: str, row: Mapping[str, Any], *, as_released: Iterable[str] = ()
) -> Fields | None:
    """Gives the fields of a row, or None where the released filters or ours leave it out.

    `options` is the list of answers where there are any; `flan_options.with_options_text` makes the
    text of it. `answers` holds all acceptable answers where there are several.

    Args:
        dataset: such as `anli_r1`; it need not be a template key.
        row: the row, with TFDS's own field names.
        as_released: defects to have back; see `flan_defects`.

    Raises:
        InputError: the dataset or a defect is unknown, or a field is missing.
    """
    key = template_key(dataset)
    if key not in FIELD_KEYS and key not in COT_KEYS:
        raise InputError(f"no FLAN dataset {dataset!r}.{did_you_mean(key, FIELD_KEYS)}")
    kept = checked(as_released)
    try:
        if key in COT_KEYS:
            return {name: row[name] for name in _COT_FIELDS}
        if key in TRANSLATION_KEYS:
            return translation(dataset, row)
        return _MAKERS[key](row, kept)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{dataset}: a row is not as TFDS has it ({detail}); it has {', '.join(row)}"
        ) from error
