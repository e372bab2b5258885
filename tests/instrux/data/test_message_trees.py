"""Trees of messages become conversations, as open-instruct flattens them."""

import random

import pytest

from instrux.data.message_trees import conversations, message_of, paths
from instrux.errors import InputError


def node(id, role, *replies, quality=None, deleted=False):
    labels = {} if quality is None else {"quality": {"value": quality, "count": 3}}
    return {
        "message_id": id,
        "role": role,
        "text": f"text {id}",
        "lang": "de",
        "user_id": f"user {id}",
        "deleted": deleted,
        "labels": labels,
        "replies": list(replies),
    }


TREE = {
    "message_tree_id": "q",
    "prompt": node(
        "q",
        "prompter",
        node("a1", "assistant", node("q2", "prompter", node("a3", "assistant")), quality=0.9),
        node("a2", "assistant", quality=0.5),
        node("gone", "assistant", quality=1.0, deleted=True),
    ),
}


def ids(found):
    return [[message.id for message in path] for path in found]


def test_the_best_reply_is_followed_and_deleted_ones_are_not():
    assert ids(conversations(TREE)) == [["q", "a1", "q2", "a3"]]


def test_more_replies_give_more_conversations():
    assert ids(conversations(TREE, replies=2)) == [["q", "a2"], ["q", "a1", "q2", "a3"]]


def test_a_question_that_nobody_answered_is_left_off():
    tree = node("q", "prompter", node("a", "assistant", node("q2", "prompter")))
    assert ids(conversations({"prompt": tree})) == [["q", "a"]]
    assert conversations({"prompt": node("q", "prompter")}) == []


def test_single_messages_give_the_same_in_any_order():
    rows = []

    def flatten(each, parent):
        quality = each["labels"].get("quality", {}).get("value")
        labels = None if quality is None else {"name": ["spam", "quality"], "value": [0.0, quality]}
        rows.append({**each, "parent_id": parent, "labels": labels})
        for reply in rows[-1].pop("replies"):
            flatten(reply, each["message_id"])

    flatten(TREE["prompt"], None)
    random.Random(3).shuffle(rows)
    found = paths(map(message_of, rows))
    assert ids(found) == [["q", "a1", "q2", "a3"]]
    assert (found[0][0].language, found[0][0].user_id) == ("de", "user q")


def test_a_message_of_an_unknown_role_is_an_error():
    with pytest.raises(InputError, match="role"):
        conversations({"prompt": node("q", "robot")})
    with pytest.raises(InputError, match="one message_id"):
        conversations({"prompt": node("q", "prompter", node("q", "assistant"))})
