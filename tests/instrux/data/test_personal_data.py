"""Personal data is found where it is, not where numbers only look like it, and never told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.data.personal_data import (
    Finding,
    PatternFinder,
    passes_luhn,
    passes_mod_97,
    remove,
)
from instrux.errors import InputError


def cleaned(text, **kinds):
    return remove(text, PatternFinder(**kinds).find(text, None))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Write to ann.lee+x@mail.example.org, please.", "Write to [EMAIL], please."),
        ("Call +44 20 7946 0958 now", "Call [PHONE] now"),
        ("Call (212) 555-0173.", "Call [PHONE]."),
        ("or 212-555-0173", "or [PHONE]"),
        ("from 8.8.8.8:53", "from [IP_ADDRESS]:53"),
        ("from 2001:4860:4860::8888", "from [IP_ADDRESS]"),
        # The test numbers that card schemes publish.
        ("card 4111 1111 1111 1111, 12/29", "card [CARD_NUMBER], 12/29"),
        ("card 378282246310005", "card [CARD_NUMBER]"),
        ("SSN 219-09-9999.", "SSN [NATIONAL_ID]."),
        ("NINO AB 12 34 56 C", "NINO [NATIONAL_ID]"),
        ("DNI 12345678Z", "DNI [NATIONAL_ID]"),
        # The examples of the IBAN registry.
        ("GB29 NWBK 6016 1331 9268 19", "[BANK_ACCOUNT]"),
        ("DE89370400440532013000", "[BANK_ACCOUNT]"),
    ],
)
def test_what_is_personal_is_replaced_by_its_kind(text, kept):
    assert cleaned(text)[0] == kept


@pytest.mark.parametrize(
    "text",
    [
        "In 1914-1918, 16.5 million people; pages 212-2190.",
        "version 3.11.2.1 listens on 127.0.0.1 and 192.168.0.1",
        "4111 1111 1111 1112 is no card, nor is 0000000000000000",
        "ISBN 978-3-16-148410-0, order 000-12-3456, part 900-12-3456",
        "at 12:30:45 on 2020-10-12, std::vector::size",
        "12345678A is no DNI; GB29 NWBK 6016 1331 9268 18 no account",
        "user@host and @name, a@b",
        "221B Baker Street",
        "3.14159265358979323846 and 1,234,567,890,123",
        "1 2 3 4 5 6 7 8 9 10 11 12 13",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert cleaned(text) == (text, [])


def test_streets_are_looked_for_when_asked():
    text = "I live at 12 Elm Tree Road, Leeds."
    assert cleaned(text)[1] == []
    assert cleaned(text, kinds=("street_address",))[0] == "I live at [STREET_ADDRESS], Leeds."
    with pytest.raises(InputError, match="Did you mean 'email'"):
        PatternFinder(("emial",))


def test_the_audit_tells_the_form_and_nothing_of_the_content():
    (removed,) = cleaned("mail bob7@example.com")[1]
    assert (removed.kind, removed.start, removed.length) == ("email", 5, 16)
    assert removed.shape == "xxx0@xxxxxxx.xxx"


@settings(max_examples=40)
@given(
    st.text("ab1", max_size=40),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=6),
)
def test_of_overlapping_stretches_each_character_goes_once(text, spans):
    found = [Finding(s, min(s + n, len(text)), "k", "r") for s, n in spans if s < len(text)]
    left, removed = remove(text, found)
    taken = {place for each in found for place in range(each.start, each.end)}
    gone = sum(each.length for each in removed)
    assert len(left) == len(text) - gone + len("[K]") * len(removed)
    assert gone <= len(taken)
    assert bool(removed) == bool(found)


def test_check_digits():
    assert passes_luhn("79927398713")  # the example of ISO/IEC 7812's usual description
    assert not passes_luhn("79927398710")
    assert passes_mod_97("GB82WEST12345698765432")
