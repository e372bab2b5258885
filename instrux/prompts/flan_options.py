"""How FLAN shows the answers that may be given: one fixed suffix, or a layout drawn per example.

The fixed suffix is that of FLAN (arXiv 2109.01652): `OPTIONS:` and a line with `- ` for each option,
in the order of the labels. The Flan Collection of 2022 draws a header, a style for the items and an
ending. Where the style tells items apart by letters or numbers, the answer becomes the item's name.
Options are never shuffled.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instrux.errors import InputError

HEADER = "OPTIONS:"
HEADERS = (
    "",
    HEADER,
    "Options:",
    "Choices:",
    "Answers:",
    "Candidates:",
    "One of:",
    "To choose from:",
    "These are the choices:",
    "Answer with one of these:",
    "The answer is among these:",
    "Which of these?",
    "Possibilities:",
    "Permitted answers:",
    "Take one of the following:",
    "Pick one.",
)
ENDINGS = ("", ";", ".")
_LEADS = ("\n", "\n  ", " ")
_BULLETS = ("-", "--", "+", "*", ">", "[-]", "[+]")
_WRAPS = ("{}.", "{})", "({})", "[{}]", "({}).", "[{}].")
_ROMAN_TENS = ("", "x", "xx", "xxx", "xl", "l", "lx", "lxx", "lxxx", "xc")
_ROMAN_ONES = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
_LETTERS = 26
_MAX_ITEMS = 99


@dataclass(frozen=True)
class ItemStyle:
    """How one item begins.

    Attributes:
        lead: what stands before the item's mark: a newline, or a space to stay on the line.
        mark: the mark, with `{}` for the item's number or letter where it has one.
        numbering: `a`, `A`, `1`, `i` or `I`; empty for a bullet.
    """

    lead: str
    mark: str
    numbering: str = ""

    def name(self, index: int) -> str:
        """Gives the mark of item `index`, counted from 0, such as `(b).` for 1."""
        return self.mark.format(_numeral(self.numbering, index)) if self.numbering else self.mark

    def holds(self, count: int) -> bool:
        """Whether the style has marks for so many items."""
        return count <= (_LETTERS if self.numbering in ("a", "A") else _MAX_ITEMS)


def _numeral(numbering: str, index: int) -> str:
    if numbering in ("a", "A"):
        return chr(ord(numbering) + index)
    if numbering == "1":
        return str(index + 1)
    tens, ones = divmod(index + 1, 10)
    roman = _ROMAN_TENS[tens] + _ROMAN_ONES[ones]
    return roman if numbering == "i" else roman.upper()


def _styles() -> tuple[ItemStyle, ...]:
    numbered = [(mark, numbering) for numbering in ("a", "A", "1") for mark in _WRAPS]
    numbered += [(mark, numbering) for numbering in ("i", "I") for mark in ("{}.", "({})")]
    marks = [(bullet, "") for bullet in _BULLETS] + numbered
    return tuple(ItemStyle(lead, mark, numbering) for lead in _LEADS for mark, numbering in marks)


ITEM_STYLES = _styles()


@dataclass(frozen=True)
class OptionLayout:
    """How a list of options is written out.

    Attributes:
        header: what stands before the items; may be empty.
        style: how each item begins.
        ending: what stands after each item.
    """

    header: str = HEADER
    style: ItemStyle = ItemStyle("\n", "-")
    ending: str = ""

    def text(self, options: Sequence[str]) -> str:
        """Writes the options out, header first and an item for each."""
        items = (
            f"{self.style.lead}{self.style.name(index)} {option}{self.ending}"
            for index, option in enumerate(options)
        )
        return self.header + "".join(items)

    def answers(self, options: Sequence[str]) -> list[str]:
        """Gives what to answer for each option: the item's name where it has one.

        A single item has no name worth answering with, so its text stays the answer.
        """
        if not self.style.numbering or len(options) < 2:
            return list(options)
        return [self.style.name(index) for index in range(len(options))]


FIXED_LAYOUT = OptionLayout()


def options_suffix(options: Sequence[str]) -> str:
    """Gives FLAN's own suffix, without a final newline.

    Raises:
        InputError: there are no options.
    """
    if not options:
        raise InputError("there are no options to list; use templates without options")
    return FIXED_LAYOUT.text(options)


def draw_layout(rng: random.Random, count: int) -> OptionLayout:
    """Draws a layout for `count` options: header, style and ending, each evenly.

    Raises:
        InputError: no style has marks for so many items.
    """
    styles = [style for style in ITEM_STYLES if style.holds(count)]
    if not styles:
        raise InputError(f"{count} options are more than the {_MAX_ITEMS} that can be numbered")
    header = HEADERS[rng.randrange(len(HEADERS))]
    style = styles[rng.randrange(len(styles))]
    return OptionLayout(header, style, ENDINGS[rng.randrange(len(ENDINGS))])


def with_options_text(
    row: Mapping[str, Any], layout: OptionLayout = FIXED_LAYOUT
) -> dict[str, Any]:
    """Adds `options_` and `options_str` to a row that has `options`.

    Where the layout names its items, `options`, `answer` and `answers` become those names. Fields
    that are no option (a score as a number) stay as they are.
    """
    fields = dict(row)
    options = [str(option) for option in row.get("options") or ()]
    if not options:
        return fields
    fields["options_"] = fields["options_str"] = layout.text(options)
    names = layout.answers(options)
    if names == options:
        return fields
    name_of = {
        option.strip(): name for option, name in reversed(list(zip(options, names, strict=True)))
    }
    fields["options"] = names
    for field in ("answer", "answer_str"):
        if isinstance(fields.get(field), str):
            fields[field] = name_of.get(fields[field].strip(), fields[field])
    if fields.get("answers"):
        fields["answers"] = [name_of.get(str(each).strip(), each) for each in fields["answers"]]
    return fields
