"""A sealed object tells of any change, that of the seal's own name included."""

import pytest

from instrux.data.seal import seal_holds, sealed


def test_a_seal_holds_until_anything_changes():
    content = sealed({"rows": 3, "tasks": ["a"]})
    assert seal_holds(content)
    assert not seal_holds(content | {"rows": 4})
    assert not seal_holds(content | {"more": 1})


@pytest.mark.parametrize("name", ["digesu", "Digest", ""])
def test_a_seal_of_another_name_is_a_changed_one(name):
    content = sealed({"rows": 3})
    content[name] = content.pop("digest")
    assert seal_holds(content) is False


def test_what_was_never_sealed_is_neither_whole_nor_changed():
    assert seal_holds({"rows": 3, "vocabulary": "0" * 64}) is None
