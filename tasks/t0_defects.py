"""What is known to be wrong in PromptSource's templates, who said so, and the mend where there is one.

T0 was trained with these mistakes, so its tasks keep them. `instrux tasks show NAME` tells them, and
`NAME_mended` (tasks/variants.py) is the same task with the mends made. A mend touches no example that
its mistake does not touch: same text, same draws.

Sources: `ps#N` is an issue or pull request of PromptSource; `text` means that the mistake was read
off the released text by arithmetic, and its tests work it out on rows.
"""

import dataclasses
import functools
from collections.abc import Mapping

from instrux.data.prompted_task import PromptedTask
from instrux.prompts import TemplateReference
from instrux.prompts.mends import Mend, MendedReference

Key = tuple[str, str | None]


@dataclasses.dataclass(frozen=True)
class Defect:
    """A mistake of some templates of a dataset.

    Attributes:
        key: names the mistake.
        datasets: dataset and subset of the templates.
        templates: their exact names; () is all templates of these datasets.
        wrong: what is wrong.
        source: who found it.
        mend: what the mended form does, or why there is none.
        mends: the changes that make the mended form; () where there is none.
        mended_when_read: whether rows are put right as they are read, so that no form has it.
    """

    key: str
    datasets: tuple[Key, ...]
    templates: tuple[str, ...]
    wrong: str
    source: str
    mend: str
    mends: tuple[Mend, ...] = ()
    mended_when_read: bool = False


def defects_of(dataset: str, subset: str | None, template: str) -> tuple[Defect, ...]:
    """Gives the known defects of a template, in the order in which they are mended."""
    return tuple(
        defect
        for defect in _by_dataset().get((dataset, subset), ())
        if not defect.templates or template in defect.templates
    )


def defects_of_task(task: PromptedTask) -> tuple[Defect, ...]:
    """Gives the known defects of a task's template, also where the task has it mended.

    Only templates of PromptSource's releases have known defects; a user's own of the same name has
    none.
    """
    reference = _reference(task)
    if reference is None or not reference.release.startswith("promptsource-"):
        return ()
    return defects_of(reference.dataset, reference.subset, reference.name)


def is_mended(task: PromptedTask) -> bool:
    """Whether the task is the mended form of another."""
    return isinstance(task.template, MendedReference)


def mended_task(task: PromptedTask) -> PromptedTask | None:
    """Gives the task with its template mended, under its own name; None if there is no mend."""
    mends = tuple(mend for defect in defects_of_task(task) for mend in defect.mends)
    if not mends or not isinstance(task.template, TemplateReference):
        return None
    return dataclasses.replace(task, template=MendedReference(task.template, mends))


def _reference(task: PromptedTask) -> TemplateReference | None:
    if isinstance(task.template, MendedReference):
        return task.template.reference
    return task.template if isinstance(task.template, TemplateReference) else None


@functools.cache
def _by_dataset() -> Mapping[Key, tuple[Defect, ...]]:
    found: dict[Key, tuple[Defect, ...]] = {}
    for defect in DEFECTS:
        for key in defect.datasets:
            found[key] = (*found.get(key, ()), defect)
    return found


# --- Mends that several templates share --------------------------------------------------------


def _only_if(condition: str) -> Mend:
    """The whole template, for rows of which the condition holds; the others are left out."""
    return Mend(r"\A(.*)\Z", rf"{{% if {condition} %}}\1{{% endif %}}")


def _target_only_if(condition: str) -> Mend:
    """The target, for rows of which the condition holds; the others get none, so `<NO LABEL>`."""
    return Mend(r"\|\|\|(.*)\Z", rf"|||{{% if {condition} %}}\1{{% endif %}}")


def _hidden(
    key: str, datasets: tuple[Key, ...], templates: tuple[str, ...], label: str, printed: str
) -> Defect:
    return Defect(
        f"hidden_label_{key}",
        datasets,
        templates,
        f"rows whose label is hidden (test) print {printed} as if it were the answer",
        "ps (Winogrande), text (the others)",
        "their target is empty, and so `<NO LABEL>`, as in SuperGLUE's templates",
        (_target_only_if(f'({label} | string) not in ("", "-1")'),),
    )


def _hidden_in_prompt(
    key: str, datasets: tuple[Key, ...], templates: tuple[str, ...], label: str
) -> Defect:
    return Defect(
        f"hidden_label_in_prompt_{key}",
        datasets,
        templates,
        "the prompt is built from the label, and rows whose label is hidden (test) get a wrong one",
        "text",
        "such rows are left out",
        (_only_if(f'({label} | string) not in ("", "-1")'),),
    )


# --- TREC: the numbers of its fine labels in 2021, which T0's templates name --------------------

_TREC_FINE_LABELS = (
    "manner cremat animal exp ind gr title def date reason event state desc count other letter "
    "religion food country color termeq city body dismed mount money product period substance sport "
    "plant techmeth volsize instru abb speed word lang perc code dist temp symbol ord veh weight "
    "currency"
).split()
_TREC_ENTITIES = (
    "animal body color cremat currency dismed event food instru lang letter plant product religion "
    "sport substance symbol techmeth termeq veh word other"
).split()
"""The choices of the template `fine_grained_ENTY`, in its order."""


def _trec_entities() -> str:
    pairs = [f"{_TREC_FINE_LABELS.index(name)}: {i}" for i, name in enumerate(_TREC_ENTITIES)]
    return "{" + ", ".join(pairs) + "}"


# --- The table ---------------------------------------------------------------------------------

_SCIQ = ("Multiple Choice", "Multiple Choice (Closed Book)", "Multiple Choice Question First")
_WINOGRANDE: tuple[Key, ...] = tuple(
    ("winogrande", f"winogrande_{size}") for size in ("xs", "s", "m", "l", "xl", "debiased")
)
_HELLASWAG_ENDINGS = (
    "Appropriate continuation - Yes or No",
    "Open-ended completion",
    "Predict ending with hint",
    "Randomized prompts template",
    "Reversed appropriate continuation - Yes or No",
    "complete_first_then",
    "how_ends",
    "if_begins_how_continues",
)
_COSMOS = (
    "context_description_question_answer_id",
    "context_description_question_answer_text",
    "context_description_question_text",
    "context_question_description_answer_id",
    "context_question_description_answer_text",
    "context_question_description_text",
    "description_context_question_answer_id",
    "description_context_question_answer_text",
    "description_context_question_text",
    "no_prompt_id",
    "no_prompt_text",
    "only_question_answer",
)
_PIQA = (
    "Correct the solution if false: from sol 1",
    "Correct the solution if false: from sol 2",
    "Does this solution make sense? sol1",
    "Does this solution make sense? sol2",
    "choose the most appropriate solution",
    "finish_sentence_with_correct_choice",
    "no prompt needed",
    "pick_correct_choice_index",
    "pick_correct_choice_with_choice_given_before_goal",
    "what_is_the_correct_ending",
)

DEFECTS: tuple[Defect, ...] = (
    Defect(
        "shows_the_true_answer",
        (("race", "all"), ("race", "high"), ("race", "middle")),
        ("Is this the right answer",),
        "the prompt asks about the true answer whatever candidate was drawn, so three of four say No"
        " to a right answer",
        "ps#841",
        "the prompt asks about the candidate that was drawn",
        (Mend(r'("D":3\})\[answer\]', r"\1[candidate]"),),
    ),
    Defect(
        "order_repeats_an_option",
        (("sciq", None),),
        _SCIQ,
        "one of the 24 orders of the options names one twice: there the last distractor is missing",
        "ps (release text)",
        "that order is the permutation that the list lacks",
        (Mend(r"\[2, 1, 0, 2\]", "[2, 1, 3, 0]"),),
    ),
    Defect(
        "draws_from_two_of_three",
        (("social_i_qa", None),),
        ("Check if a random answer is valid or not",),
        "the answer asked about is drawn from the first two of three, so the third is never shown",
        "ps (release text)",
        "it is drawn from all three",
        (Mend(r"range\(0,2\)", "range(0,3)"),),
    ),
    Defect(
        "choices_lack_a_label",
        (("wiqa", None),),
        ("which_of_the_following_is_the_supposed_perturbation",),
        "the answer choices lack the first of the three labels, so examples with that label can never"
        " be ranked right",
        "ps (release text)",
        "the choices are the three that the prompt lists",
        (Mend(r"\Ain(.*?) *\|\|\|", r"\1 ||| in\1 |||", "answer_choices"),),
    ),
    Defect(
        "target_is_no_choice",
        (("imdb", None),),
        ("Negation template for positive and negative",),
        "a word follows the choice in the target, so the target is none of the choices and no example"
        " can be ranked right",
        "text",
        "the choices are what targets say; texts stay as they are",
        (
            Mend(r"(\}\}) review\.", r"\1"),
            Mend(r"\A(\w+) \|\|\| (\w+)\Z", r"\1 review. ||| \2 review.", "answer_choices"),
        ),
    ),
    Defect(
        "choices_lack_a_letter",
        (("commonsense_qa", None),),
        ("question_to_answer_index",),
        "the answer choices are four letters for five options; the fifth option is not shown",
        "ps (release text)",
        "there are five letters",
        (Mend(r"\Z", " ||| E", "answer_choices"),),
    ),
    Defect(
        "compares_another_option",
        (("qasc", None),),
        ("is_correct_2",),
        "the prompt asks about the second option, and the target is that of the first",
        "text",
        "the target is that of the second",
        (Mend(r"(answerKey == choices\.label\[)0\]", r"\g<1>1]"),),
    ),
    Defect(
        "field_names_of_2021",
        (("trec", None),),
        (),
        "the Hub renamed and renumbered the labels in 2022; with such rows no target has a label, and"
        " no fine-grained template applies",
        "ps#844, ps#832",
        "none needed: rows get the fields and numbers of 2021 back as they are read, in every form"
        " (tasks/t0_hub_fields.csv)",
        mended_when_read=True,
    ),
    Defect(
        "labels_off_by_one",
        (("trec", None),),
        ("fine_grained_ENTY",),
        "from the fifth class on, numbers of labels point at the class before the right one, and sport"
        " is missing (events are called diseases)",
        "text",
        "every label points at its own class",
        (Mend(r"label_mapping = \{[^}]*\}", f"label_mapping = {_trec_entities()}"),),
    ),
    Defect(
        "labels_exchanged",
        (("trec", None),),
        ("fine_grained_DESC", "fine_grained_DESC_context_first"),
        "definition and description are exchanged",
        "text",
        "each label points at its own class",
        (Mend(r"7:1,\s*12:0", "7:0, 12:1"),),
    ),
    Defect(
        "empty_documents",
        (("multi_news", None),),
        (),
        "some rows have no document: the prompt shows none, and the reverse task cannot draw one",
        "ps#793",
        "such rows are left out",
        (Mend(r"\A(.*?list ?%\})(.*)\Z", r"\1{% if docs | join | trim %}\2{% endif %}"),),
    ),
    _hidden("winogrande", _WINOGRANDE, (), "answer", "the second option"),
    _hidden("hellaswag", (("hellaswag", None),), _HELLASWAG_ENDINGS, "label", "the first ending"),
    _hidden_in_prompt(
        "hellaswag",
        (("hellaswag", None),),
        ("Open-ended start", "Topic of the context"),
        "label",
    ),
    _hidden("qqp", (("glue", "qqp"),), (), "label", "yes"),
    _hidden("cosmos_qa", (("cosmos_qa", None),), _COSMOS, "label", "the last option"),
    _hidden_in_prompt(
        "cosmos_qa", (("cosmos_qa", None),), ("context_answer_to_question",), "label"
    ),
    _hidden("piqa", (("piqa", None),), _PIQA, "label", "the second solution"),
    _hidden_in_prompt("piqa", (("piqa", None),), ("Correct the solution",), "label"),
    _hidden("qasc", (("qasc", None),), ("is_correct_1", "is_correct_2"), "answerKey", "No"),
    Defect(
        "applies_to_half",
        (("super_glue", "copa"),),
        (
            "…As a result, C1 or C2?",
            "…What could happen next, C1 or C2?",
            "…which may be caused by",
            "…why? C1 or C2",
        ),
        "it applies to one kind of question only, so its score is over about half of the rows",
        "ps#348",
        "none: the prompt makes no sense for the other kind; reports say how many rows each has",
    ),
    Defect(
        "one_answer_of_several",
        (("super_glue", "record"),),
        (),
        "the target is one of the acceptable answers, drawn at random, so accuracy varies with the"
        " draw",
        "ps (release text)",
        "none: draws are fixed by seed, example and template, so that runs can be compared",
    ),
)
