"""Known defects of the released FLAN code that change text, and a switch for each.

All are mended by default. Name a defect in `as_released` to have it back, or use
`EVERY_TEXT_DEFECT` to come as near to the released text as we can. "read" under `known_from` means
that the defect was found by reading the code, not by running it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from instrux.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Defect:
    """One defect.

    Attributes:
        name: what `as_released` takes.
        version: `2021`, `2022` or `both`.
        released: what the released code does.
        mended: what is done here.
        datasets: template keys that it concerns; () for all.
        known_from: `read`, or an issue of google-research/FLAN.
    """

    name: str
    version: str
    released: str
    mended: str
    datasets: tuple[str, ...] = ()
    known_from: str = "read"


_ALL = (
    Defect(
        "cnn_dailymail_dateline",
        "2021",
        "keeps what stands before the dateline's end instead of the article",
        "keeps what stands after it, and joins the highlights to one line as in 2022",
        ("cnn_dailymail",),
    ),
    Defect(
        "quac_cannotanswer",
        "2021",
        "leaves the word CANNOTANSWER at the end of contexts and as a target; in 2022 the target"
        " becomes empty",
        "takes the word out and leaves questions without an answer out",
        ("quac",),
    ),
    Defect(
        "sentiment140_neutral",
        "both",
        "calls neutral tweets (polarity 2, in the test split) negative",
        "leaves them out",
        ("sentiment140",),
    ),
    Defect(
        "multirc_answer_id",
        "2021",
        "gives the question's id as the answer's",
        "gives the answer's own",
        ("multirc",),
    ),
    Defect(
        "math_dataset_bytes",
        "both",
        "passes values on that are written as Python byte strings (`b'Solve …\\n'`)",
        "reads them as text",
        ("math_dataset",),
    ),
    Defect(
        "ascii_formatting",
        "both",
        "takes accented letters for punctuation and does not lower them",
        "treats all letters alike",
        ("fix_punct", "true_case"),
    ),
    Defect(
        "aeslc_empty_subject",
        "both",
        "keeps emails without a subject or without a body",
        "leaves them out",
        ("aeslc",),
    ),
    Defect(
        "stray_n_before_options",
        "2021",
        "has a stray letter n after the hypothesis in templates 5 to 7 of rte, anli and cb",
        "takes it out when the released templates are imported",
        ("rte", "anli", "cb"),
    ),
    Defect(
        "snli_swapped",
        "both",
        "has premise and hypothesis in each other's place in templates 7 and 8 of snli",
        "swaps them back when the released templates are imported",
        ("snli",),
    ),
)
_BY_DESIGN = (
    Defect(
        "last_group_dropped",
        "both",
        "takes rows in groups of as many as there are templates and drops the last, incomplete one",
        "template = row number modulo the number of templates; nothing is dropped",
    ),
    Defect(
        "exemplars_from_queries",
        "both",
        "draws exemplars from the rows that are asked, so that a query may be its own exemplar",
        "draws them from a pool that is never asked; `released_exemplars` has the old way",
        known_from="issues 19 and 31",
    ),
    Defect(
        "names_without_options",
        "2022",
        "a random layout turns the answer into an item's name also where the template shows no"
        " options or has the answer in its inputs (`Write a (b). review`)",
        "only templates that show the options get a random layout",
        known_from="read; issue 25 has a case in T0's part",
    ),
    Defect(
        "single_item_named",
        "2022",
        "with one option every bullet counts as distinct, so the answer becomes the bullet",
        "a single option is answered by its text",
    ),
    Defect(
        "separator_drawn_at_import",
        "2022",
        "draws one separator with Python's global generator when a module is imported",
        "drawn from seed and example id",
    ),
    Defect(
        "item_styles_repeated",
        "2022",
        "87 item styles of which many are equal: a colon was meant and a full stop written",
        "87 different styles",
    ),
    Defect(
        "dialogue_headers_fused",
        "2022",
        "two headers of dialogues are one, for want of a comma",
        "no dialogue headers are bundled",
    ),
    Defect(
        "identical_no_options_tasks",
        "2021",
        "two families of tasks without options, meant to differ in the FLAN tag, are equal",
        "the wrapper is a setting of its own: `FLAN_DIALOGUE` or `DIALOGUE`",
    ),
    Defect(
        "stsb_float_answer",
        "2021",
        "stsb's answer is a number, which cannot be found among its options",
        "`answer_str` is the rounded score, and an option",
        ("stsb",),
    ),
    Defect(
        "cb_baseline_labels",
        "both",
        "has the words for neutral and contradiction in each other's place in cb's baseline prompt",
        "words in the order of label ids, in `flan_continuations`",
        ("cb",),
    ),
    Defect(
        "formatting_distance_of_words",
        "2021",
        "scores text formatting by an edit distance over lower-cased words split at every sign, so"
        " that a text without its capitals is as good as one that has them back",
        "scored by `edit_similarity`: characters as they are, case and signs included",
        ("true_case", "fix_punct", "word_segment"),
    ),
    Defect(
        "quac_scored_by_characters",
        "2021",
        "quac's answers reach a metric over lists of answers as texts, which it reads as lists of"
        " characters",
        "scored by SQuAD's exact match and F1 against the answer",
        ("quac",),
    ),
    Defect(
        "odd_templates",
        "both",
        "cola has one template twice, e2e_nlg's sixth asks for data and expects text, squad_v2's"
        " third asks for a question and expects an answer",
        "imported as they are: which of two texts is right cannot be told",
        ("cola", "e2e_nlg", "squad_v2"),
        "read; issue 24",
    ),
)
DEFECTS = {defect.name: defect for defect in _ALL}
"""Defects that can be had back, by name."""
MENDED_BY_DESIGN = {defect.name: defect for defect in _BY_DESIGN}
"""Defects that have no switch, or whose switch is another function, as `mended` says."""
EVERY_TEXT_DEFECT = frozenset(DEFECTS)
TEMPLATE_DEFECTS = frozenset({"stray_n_before_options", "snli_swapped"})
"""Those that lie in the released templates: the bundled ones never have them."""


def defects_of(key: str) -> tuple[Defect, ...]:
    """Gives the defects that concern the datasets of a template key, and no others.

    Args:
        key: such as `anli`; see `flan_templates.template_key`.
    """
    return tuple(each for each in (*_ALL, *_BY_DESIGN) if key in each.datasets)


def checked(as_released: Iterable[str]) -> frozenset[str]:
    """Gives the named defects as a set.

    Raises:
        InputError: one has no switch.
    """
    names = frozenset([as_released] if isinstance(as_released, str) else as_released)
    for name in sorted(names - EVERY_TEXT_DEFECT):
        raise InputError(
            f"no defect {name!r} can be had back; known: {', '.join(DEFECTS)}."
            f"{did_you_mean(name, DEFECTS)}"
        )
    return names
