"""Personal data in text: found by patterns and check digits, replaced by a mark, and told of.

The default looks for what is surely personal where it is found at all: e-mail addresses, telephone
numbers, public IP addresses, payment cards (Luhn), bank accounts (ISO 13616) and national numbers of a
few countries. Names need a model: `presidio_finder.py` asks Microsoft's library, an extra.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Protocol

from instrux.errors import InputError, did_you_mean


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """A stretch of a text that is personal.

    Attributes:
        start: its first character.
        end: the one after its last.
        kind: what it is, such as `email`.
        rule: what found it.
    """

    start: int
    end: int
    kind: str
    rule: str


@dataclasses.dataclass(frozen=True)
class Removed:
    """What was taken out of a text, told without telling it.

    Attributes:
        kind: what it was.
        rule: what found it.
        start: where it stood in the text as it was.
        length: its characters.
        shape: the same with every letter as `x`, every digit as `0`, all else as it was; of
            addresses of the network nothing but their punctuation says anything.
    """

    kind: str
    rule: str
    start: int
    length: int
    shape: str


class Finder(Protocol):
    """What finds personal data."""

    def find(self, text: str, language: str | None) -> list[Finding]:
        """Gives what is personal, in any order; stretches may overlap."""
        ...


def remove(text: str, findings: Iterable[Finding]) -> tuple[str, list[Removed]]:
    """Replaces what was found by marks such as `[EMAIL]`; of stretches that overlap the longest."""
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda each: (each.start - each.end, each)):
        if all(finding.end <= other.start or finding.start >= other.end for other in kept):
            kept.append(finding)
    kept.sort()
    parts, removed, end = [], [], 0
    for finding in kept:
        value = text[finding.start : finding.end]
        parts += [text[end : finding.start], f"[{finding.kind.upper()}]"]
        removed.append(
            Removed(finding.kind, finding.rule, finding.start, len(value), shape_of(value))
        )
        end = finding.end
    return "".join([*parts, text[end:]]), removed


def shape_of(value: str) -> str:
    """The form of a text with nothing of its content."""
    return "".join("x" if c.isalpha() else "0" if c.isdigit() else c for c in value)


# --- Check digits --------------------------------------------------------------------------------


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def passes_mod_97(account: str) -> bool:
    """Whether an IBAN without blanks has the check digits of ISO 13616."""
    moved = account[4:] + account[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _is_card(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and passes_luhn(digits)


def _is_bank_account(value: str) -> bool:
    return passes_mod_97(value.replace(" ", ""))


def _is_public_address(value: str) -> bool:
    try:
        return ipaddress.ip_address(value).is_global
    except ValueError:
        return False


def _is_spanish(value: str) -> bool:
    digits = value[:8].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == value[-1].upper()


def _is_french(value: str) -> bool:
    digits = re.sub(r"\s", "", value)
    return int(digits[:13]) % 97 == 97 - int(digits[13:])


def _has_enough_digits(value: str) -> bool:
    return 8 <= sum(character.isdigit() for character in value) <= 15


def _is_anything(value: str) -> bool:
    return bool(value)


# --- Patterns ------------------------------------------------------------------------------------

_HERE = r"(?<![\w.@-])"  # not within a word, a number, a version or an address
_END = r"(?![\w@-]|\.\d)"


@dataclasses.dataclass(frozen=True)
class Rule:
    """A pattern and what makes sure of it.

    Attributes:
        name: of the rule.
        kind: what it finds.
        pattern: what it looks like.
        is_real: tells a real one from a number that happens to look like it.
    """

    name: str
    kind: str
    pattern: re.Pattern[str]
    is_real: Callable[[str], bool] = _is_anything


_RULES = (
    Rule(
        "address with a domain",
        "email",
        re.compile(
            r"(?<![\w.+%-])[A-Za-z0-9][\w.+%-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"
        ),
    ),
    Rule(
        "international number",
        "phone",
        re.compile(r"(?<![\w+])\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?!\d)"),
        _has_enough_digits,
    ),
    Rule(
        "North American number",
        "phone",
        re.compile(
            _HERE + r"(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[ .-]\d{4}" + _END
        ),
    ),
    Rule(
        "public IPv4",
        "ip_address",
        re.compile(r"(?<![\w.])(?<!ersion )(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)"),
        _is_public_address,
    ),
    Rule(
        "public IPv6",
        "ip_address",
        re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){1,6}(?![\w:])"),
        _is_public_address,
    ),
    Rule(
        "payment card, Luhn",
        "card_number",
        re.compile(_HERE + r"[2-6]\d{3}(?:[ -]?\d){9,15}" + _END),
        _is_card,
    ),
    Rule(
        "IBAN, mod 97",
        "bank_account",
        re.compile(_HERE + r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?" + _END),
        _is_bank_account,
    ),
    Rule(
        "US social security number",
        "national_id",
        re.compile(_HERE + r"(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}" + _END),
    ),
    Rule(
        "UK national insurance number",
        "national_id",
        re.compile(
            _HERE + r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?"
            r"\d{2} ?\d{2} ?\d{2} ?[A-D]" + _END
        ),
    ),
    Rule(
        "Spanish identity number, check letter",
        "national_id",
        re.compile(_HERE + r"(?:\d{8}|[XYZ]\d{7})-?[A-HJ-NP-TV-Z]" + _END),
        _is_spanish,
    ),
    Rule(
        "French social security number, mod 97",
        "national_id",
        re.compile(_HERE + r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?\d{2} ?\d{3} ?\d{3} ?\d{2}" + _END),
        _is_french,
    ),
    Rule(
        "number and street, English",
        "street_address",
        re.compile(
            _HERE + r"\d{1,5} (?:[NSEW]\.? )?(?:[A-Z][a-z]+ ){1,3}"
            r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Court|Terrace)\b"
        ),
    ),
)
KINDS = tuple(dict.fromkeys(rule.kind for rule in _RULES))
DEFAULT_KINDS = tuple(kind for kind in KINDS if kind != "street_address")
"""A street and a number may be anybody's, a museum's too, so it is looked for when asked only."""


@dataclasses.dataclass(frozen=True)
class PatternFinder:
    """Finds personal data by patterns and check digits.

    Attributes:
        kinds: what is looked for, of `KINDS`.
    """

    kinds: tuple[str, ...] = DEFAULT_KINDS

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise InputError(
                    f"no pattern for {kind!r}.{did_you_mean(kind, KINDS)} Kinds: {', '.join(KINDS)}."
                )

    def find(self, text: str, language: str | None) -> list[Finding]:
        """Gives what is personal; the patterns are the same for every language."""
        del language
        return [
            Finding(match.start(), match.end(), rule.kind, rule.name)
            for rule in _RULES
            if rule.kind in self.kinds
            for match in rule.pattern.finditer(text)
            if rule.is_real(match[0])
        ]
