"""Inputs without an instruction, for FLAN's ablation: the fields alone, or under a dataset's name.

The paper's ablation trains on bare pairs of input and output, or puts the dataset's name in brackets
before the input, and asks what that does to tasks that were not trained on (section 4 of arXiv
2109.01652).
"""

import hashlib
from collections.abc import Sequence

from instrux.errors import InputError
from instrux.prompts.template import SEPARATOR, Template, TemplateMetadata


def bare_template(
    fields: Sequence[str], target: str, *, dataset: str = "", options: str = ""
) -> Template:
    """Makes the template that prints fields and nothing else.

    Args:
        fields: names of the fields, a line each.
        target: name of the field that is asked for.
        dataset: the dataset's name to put in brackets on the first line; empty for none. It may
            name fields, as in `wmt14_enfr to {{lang2}}`.
        options: `options_` or `options_str` to list the options; empty for none.

    Raises:
        InputError: no field is given, or the target is among them.
    """
    if not fields or target in fields:
        raise InputError(
            f"a bare input of {', '.join(fields) or 'no field'} cannot ask for {target!r}"
        )
    lines = [f"[{dataset}]"] if dataset else []
    lines += [f"{{{{{field}}}}}" for field in fields]
    if options:
        lines += ["", f"{{{{{options}}}}}"]
    jinja = "\n".join(lines) + SEPARATOR + f"{{{{{target}}}}}"
    return Template(
        name="dataset name" if dataset else "bare",
        jinja=jinja,
        metadata=TemplateMetadata(
            original_task=True, choices_in_prompt=bool(options), turned_around=False
        ),
        id=hashlib.blake2b(jinja.encode(), digest_size=16).hexdigest(),
        dataset=dataset,
    )
