"""Trees of messages, as OpenAssistant publishes them (arXiv 2304.07327), cut into conversations.

A tree comes as one row with nested `replies`, or as rows of single messages that name their parent.
At each message the replies of the highest quality are followed, and every path that ends with the
assistant is a conversation. Deleted messages, and what hangs on them, are left out.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from instrux.data.demonstrations import optional_text, required_text
from instrux.errors import InputError

_MOST_MESSAGES = 100_000
_DEEPEST = 1_000
_ROLES = {"prompter": "user", "assistant": "assistant"}


@dataclasses.dataclass(frozen=True)
class Message:
    """One message of a tree.

    Attributes:
        id: its name.
        parent: the message that it answers; None for a root.
        role: `user` or `assistant`.
        text: what it says.
        quality: from 0 to 1, as people labelled it; 0 where nobody did.
        user_id: who wrote it, if known.
        language: its code, if known.
        deleted: whether it was taken back.
    """

    id: str
    parent: str | None
    role: str
    text: str
    quality: float
    user_id: str | None
    language: str | None
    deleted: bool


def conversations(row: Mapping[str, Any], *, replies: int = 1) -> list[tuple[Message, ...]]:
    """Gives the conversations of a tree that is one row: `{"prompt": {..., "replies": [...]}}`.

    Args:
        row: the tree.
        replies: how many replies to a message are followed.

    Raises:
        InputError: it is no such tree.
    """
    root = row.get("prompt", row)
    if not isinstance(root, Mapping) or "replies" not in root:
        raise InputError("no tree: field 'prompt' is no message with 'replies'")
    return paths(_messages_below(root), replies=replies)


def paths(messages: Iterable[Message], *, replies: int = 1) -> list[tuple[Message, ...]]:
    """Gives the conversations of one tree, whatever order its messages come in.

    Raises:
        InputError: two messages have one name.
    """
    by_parent: dict[str | None, list[Message]] = {}
    seen: set[str] = set()
    for message in messages:
        if message.id in seen:
            raise InputError("two messages of a tree have one message_id")
        seen.add(message.id)
        if not message.deleted:
            by_parent.setdefault(message.parent, []).append(message)
    found: list[tuple[Message, ...]] = []
    waiting = [(root,) for root in _best(by_parent.get(None, ()), None)]
    while waiting:
        path = waiting.pop()
        following = _best(by_parent.get(path[-1].id, ()), replies)
        if following and len(path) < _DEEPEST:
            waiting += [(*path, message) for message in following]
        elif ended := _until_assistant(path):
            found.append(ended)
    # Paths that differ only in a last question that nobody answered are one conversation.
    return sorted(dict.fromkeys(found), key=lambda path: path[-1].id)


def message_of(row: Mapping[str, Any], parent: str | None = None) -> Message:
    """Reads a message: a row of its own, or a node of a tree.

    Raises:
        InputError: a field is absent or not what it must be.
    """
    role = required_text(row, "role")
    if role not in _ROLES:
        raise InputError("a message's role is neither prompter nor assistant")
    return Message(
        id=required_text(row, "message_id"),
        parent=parent if parent is not None else optional_text(row, "parent_id") or None,
        role=_ROLES[role],
        text=required_text(row, "text"),
        quality=_quality(row.get("labels")),
        user_id=optional_text(row, "user_id") or None,
        language=optional_text(row, "lang") or None,
        deleted=row.get("deleted") is True,
    )


def _messages_below(root: Mapping[str, Any]) -> Iterator[Message]:
    waiting: list[tuple[Mapping[str, Any], str | None]] = [(root, None)]
    count = 0
    while waiting:
        node, parent = waiting.pop()
        message = message_of(node, parent)
        # A root's own parent_id, where it has one, lies outside the tree.
        yield dataclasses.replace(message, parent=parent)
        count += 1
        answers = node.get("replies") or ()
        if not isinstance(answers, Sequence) or isinstance(answers, str):
            raise InputError("field 'replies' is no list of messages")
        for answer in answers:
            if not isinstance(answer, Mapping) or count > _MOST_MESSAGES:
                raise InputError("field 'replies' is no list of messages, or it has too many")
            waiting.append((answer, message.id))


def _best(messages: Iterable[Message], count: int | None) -> list[Message]:
    return sorted(messages, key=lambda each: (-each.quality, each.id))[:count]


def _until_assistant(path: tuple[Message, ...]) -> tuple[Message, ...]:
    """The path up to the assistant's last message; () if it never speaks."""
    last = max((place for place, each in enumerate(path) if each.role == "assistant"), default=-1)
    return path[: last + 1]


def _quality(labels: Any) -> float:
    """Quality of either form: `{"quality": {"value": 0.7}}`, or lists of names and values."""
    if not isinstance(labels, Mapping):
        return 0.0
    value: Any = None
    if isinstance(labels.get("name"), Sequence) and isinstance(labels.get("value"), Sequence):
        value = dict(zip(labels["name"], labels["value"], strict=False)).get("quality")
    elif isinstance(labels.get("quality"), Mapping):
        value = labels["quality"].get("value")
    return float(value) if isinstance(value, (int, float)) else 0.0
