"""Mends: small changes to the text of a released template, as plain data.

A published template that is wrong stays as it is, because what was trained with it was trained
with the mistake. A mended form of it is the release's text with some places replaced; nothing of
the text is repeated here, and a text other than the one that a mend was made for is refused.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal, final

from instrux.errors import InputError
from instrux.prompts.collection import TemplateReference
from instrux.prompts.template import Template


@dataclasses.dataclass(frozen=True)
class Mend:
    r"""A replacement in a template.

    Attributes:
        find: a regular expression; `.` also matches the end of a line.
        replace: what each match becomes; `\1` is its first group.
        field: the text that is changed.
        matches: how many matches there must be.
    """

    find: str
    replace: str
    field: Literal["jinja", "answer_choices"] = "jinja"
    matches: int = 1


@final
@dataclasses.dataclass(frozen=True)
class MendedReference:
    """Names a template of a release, to be mended when it is looked up. Plain data.

    Attributes:
        reference: the template as released.
        mends: what is changed, in order.
    """

    reference: TemplateReference
    mends: tuple[Mend, ...]

    @property
    def name(self) -> str:
        """The template's name, that of the released form: so both forms draw alike."""
        return self.reference.name

    def resolve(self) -> Template:
        """Gives the mended template.

        Raises:
            InputError: there is no such template, or its text is not the one that was mended.
        """
        return mended(self.reference.resolve(), self.mends)


def mended(template: Template, mends: Sequence[Mend]) -> Template:
    """Gives a template with some places of its text replaced.

    A mend of answer choices changes nothing where the template has none.

    Raises:
        InputError: the text has another number of these places than the mend was made for.
    """
    for mend in mends:
        text = getattr(template, mend.field)
        if text is None:
            continue
        changed, matches = re.subn(mend.find, mend.replace, text, flags=re.DOTALL)
        if matches != mend.matches:
            raise InputError(
                f"template {template.name!r} of {template.dataset}: {matches} places to mend in its"
                f" {mend.field}, not {mend.matches}; the mend was made for another text of it, so"
                " use the released form"
            )
        template = dataclasses.replace(template, **{mend.field: changed})
    return template
