"""Other forms of registered tasks and mixtures, by a suffix to their names.

    NAME_mended                known defects of its template are mended (tasks/t0_defects.py)
    NAME_unstripped            texts keep their outer white space, as the published P3 has them
    NAME_promptsource_0.1.0    templates are those of the release that the T0 paper used

Each is a task of its own name, so that rendered files, caches and packed mixtures never mix, and
is registered when it is first asked for. Suffixes add up (`t0_train_mended_unstripped`). A mixture
has the other form of each of its tasks, and the rates that it had; tasks to which a suffix does
nothing stay as they are. The twin of `X_mended` is `X_mended_score_eval`.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import seqio

from instrux.data import registration
from instrux.data.prompted_task import PromptedTask
from instrux.data.task_names import SCORE_EVAL_SUFFIX
from instrux.errors import InputError
from instrux.prompts import TemplateReference
from instrux.prompts.mends import MendedReference
from tasks.t0_defects import mended_task

PAPER_RELEASE = "promptsource-0.1.0"

# In 0.1.0 these had no answer choices, and so no twin for rank classification.
_WITHOUT_CHOICES_IN_PAPER_RELEASE = frozenset(
    {
        "does_the_supposed_perturbation_have_an_effect",
        "effect_with_label_answer",
        "effect_with_string_answer",
        "which_of_the_following_is_the_supposed_perturbation",
    }
)


@dataclasses.dataclass(frozen=True)
class Variant:
    """A form in which tasks can be had.

    Attributes:
        suffix: what follows the name.
        change: gives the task in this form, under its old name; None if the form is no other.
        none: said of a name to which the suffix does nothing.
        has_choices: whether a task in this form has answer choices, if it had them before.
    """

    suffix: str
    change: Callable[[PromptedTask], PromptedTask | None]
    none: str
    has_choices: Callable[[PromptedTask], bool] = lambda task: True

    def add(self, match: re.Match[str]) -> str:
        """Registers the form of a task, of a twin or of a mixture that a name asks for."""
        twin = match["twin"] or ""
        found = registration.find_name(match["base"], whose=f"{match[0]!r}: ")
        if found in seqio.MixtureRegistry.names():
            if twin:
                raise InputError(
                    f"unknown task or mixture {match[0]!r}; the mixture {found!r} in this form is"
                    f" {found + self.suffix!r}"
                )
            return self._add_mixture(found)
        if found.endswith(SCORE_EVAL_SUFFIX) and not twin:
            found, twin = found.removesuffix(SCORE_EVAL_SUFFIX), SCORE_EVAL_SUFFIX
        names = self._add_task(found)
        if not names:
            raise InputError(f"task {found!r} {self.none}; use it as it is")
        if names[0] + twin not in names:
            raise InputError(f"task {names[0]!r} has no twin for rank classification: no choices")
        return names[0] + twin

    def _add_task(self, name: str) -> list[str]:
        """Gives the names added, or none where the task has no other form."""
        task = registration.prompted_task(name)
        changed = self.change(task)
        if changed is None:
            return []
        known: Any = seqio.TaskRegistry.get(task.name)
        has_twin = task.name + SCORE_EVAL_SUFFIX in seqio.TaskRegistry.names()
        return registration.add_prompted_task(
            dataclasses.replace(changed, name=task.name + self.suffix),
            output_features=known.output_features,
            score_eval=has_twin and self.has_choices(changed),
            metric_fns=known.metric_fns,
        )

    def _add_mixture(self, name: str) -> str:
        members: dict[str, float] = {}
        changed = False
        mixture: Any = seqio.MixtureRegistry.get(name)
        for member, rate in mixture.rate_per_task_name.items():
            new = self._member(member)
            changed |= new != member
            if new is not None:
                members[new] = rate
        if not changed:
            raise InputError(f"every task of mixture {name!r} {self.none}; use it as it is")
        return registration.add_mixture(name + self.suffix, members)

    def _member(self, member: str) -> str | None:
        """The member in this form; itself where it has no other, None where it is no more."""
        if member in seqio.MixtureRegistry.names():
            return self._add_mixture(member)
        plain = member.removesuffix(SCORE_EVAL_SUFFIX)
        names = self._add_task(plain)
        if not names:
            return member
        name = names[0] + member.removeprefix(plain)
        return name if name in names else None


def _unstripped(task: PromptedTask) -> PromptedTask | None:
    return dataclasses.replace(task, strip=False) if task.strip else None


def _of_paper_release(task: PromptedTask) -> PromptedTask | None:
    template = task.template
    if isinstance(template, MendedReference):
        reference = _in_paper_release(template.reference)
        changed = None if reference is None else dataclasses.replace(template, reference=reference)
    elif isinstance(template, TemplateReference):
        changed = _in_paper_release(template)
    else:
        changed = None
    return None if changed is None else dataclasses.replace(task, template=changed)


def _in_paper_release(reference: TemplateReference) -> TemplateReference | None:
    if not reference.release.startswith("promptsource-") or reference.release == PAPER_RELEASE:
        return None
    return dataclasses.replace(reference, release=PAPER_RELEASE)


def _had_choices(task: PromptedTask) -> bool:
    missing = task.template.name in _WITHOUT_CHOICES_IN_PAPER_RELEASE
    return not (task.source.dataset == "wiqa" and missing)


VARIANTS = (
    Variant("_mended", mended_task, "has no known defect that can be mended"),
    Variant("_unstripped", _unstripped, "is unstripped already"),
    Variant(
        f"_{PAPER_RELEASE.replace('-', '_')}",
        _of_paper_release,
        "has a template of a later release of PromptSource",
        _had_choices,
    ),
)


def _register() -> None:
    for variant in VARIANTS:
        suffix = re.escape(variant.suffix).replace(r"\.", "[._]")
        registration.add_name_family(
            f"NAME{variant.suffix}",
            rf"(?P<base>.+){suffix}(?P<twin>{SCORE_EVAL_SUFFIX})?",
            variant.add,
            kind=None,
            names=tuple,
        )


_register()
