"""A digest that a JSON object carries of itself, so that a changed byte of it is noticed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_KEY = "digest"


def digest_of(content: Mapping[str, Any]) -> str:
    """Gives the digest of an object's content, `digest` itself left out."""
    rest = {key: value for key, value in content.items() if key != _KEY}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the object with its digest."""
    return {**content, _KEY: digest_of(content)}


def seal_holds(content: Mapping[str, Any]) -> bool | None:
    """Whether an object is as it was sealed; None where it never was.

    The name `digest` may be what changed, so a digest of all the rest is known by its value.
    """
    if _KEY in content:
        return content[_KEY] == digest_of(content)
    for key, value in content.items():
        rest = {name: other for name, other in content.items() if name != key}
        if isinstance(value, str) and value == digest_of(rest):
            return False
    return None


def seal_of(path: Path) -> str:
    """Gives the digest of a JSON file's content; "" where it is absent or no JSON object."""
    try:
        return digest_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError):
        return ""
