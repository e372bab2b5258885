"""Prompts without an instruction: the fields alone, under a dataset's name, or as a text to go on with.

FLAN's ablation trains on bare pairs of input and output, or puts the dataset's name in brackets
before the input, and asks what that does to tasks that were not trained on (section 4 of arXiv
2109.01652). Texts to go on with are what a language model is trained on: T5's are adapted to it before
soft prompts are tuned (arXiv 2104.08691, section 3.1).
"""

import hashlib
from collections.abc import Sequence

from instrux.errors import InputError
from instrux.prompts.template import SEPARATOR, Template, TemplateMetadata

PREFIX_WORDS = 120
"""Words that `prefix_template` shows at most."""
CONTINUED_WORDS = 16
"""Words that it asks for at most."""


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


def prefix_template(fields: Sequence[str]) -> Template:
    """Makes the template that shows a text and asks how it goes on, whatever the task.

    The text is the fields, one after the other; its last `CONTINUED_WORDS` words are asked for, of a
    shorter text the second half.

    Args:
        fields: names of the fields; the target is none of them, so no label is seen.

    Raises:
        InputError: no field is given.
    """
    if not fields:
        raise InputError("a text of no field cannot be gone on with")
    text = " ~ ' ' ~ ".join(f"({field} | string)" for field in fields)
    jinja = (
        f"{{% set words = ({text}).split()[-{PREFIX_WORDS + CONTINUED_WORDS}:] %}}"
        f"{{% set shown = [words | length - {CONTINUED_WORDS}, words | length // 2] | max %}}"
        f"{{{{ words[:shown] | join(' ') }}}}{SEPARATOR}{{{{ words[shown:] | join(' ') }}}}"
    )
    return Template(
        name="prefix",
        jinja=jinja,
        metadata=TemplateMetadata(original_task=False, choices_in_prompt=False, turned_around=True),
        id=hashlib.blake2b(jinja.encode(), digest_size=16).hexdigest(),
        dataset="",
    )
