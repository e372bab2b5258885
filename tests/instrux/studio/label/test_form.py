"""The form: what is asked, and that answers belong to systems whatever the order of a page."""

import json

from hypothesis import given
from hypothesis import strategies as st

from instrux.evaluation.label_flags import FLAGS
from instrux.studio.label.form import (
    Content,
    TaskFacts,
    content_of,
    fields_of,
    parse,
    questions,
    to_record,
    unanswered,
)
from instrux.studio.label.study import StudySettings

SYSTEMS = ("sft", "flan", "gpt")


def _facts(systems=SYSTEMS, **known):
    properties = {"closed_domain": None, "has_constraint": None} | known
    return TaskFacts(
        "t", "p", "Do it.", "Chat", outputs=dict.fromkeys(systems, "Done."), **properties
    )


def test_the_form_asks_what_the_paper_asks_and_of_closed_domains_alone_for_hallucination():
    def kinds(**known):
        asked = questions(_facts(("sft",), **known), StudySettings())
        return [question.kind for question in asked]

    everything = ["overall", *(flag.name for flag in FLAGS)]
    assert kinds() == kinds(closed_domain=True, has_constraint=True) == everything
    lacking = kinds(closed_domain=False, has_constraint=False)
    assert lacking == [k for k in everything if k not in ("hallucination", "satisfies_constraint")]
    several = questions(_facts(), StudySettings())
    assert [q.name for q in several if q.kind == "rank"] == ["rank_A", "rank_B", "rank_C"]
    pair = questions(_facts(("a", "b")), StudySettings(mode="pairs"))
    assert [len(q.options) for q in pair] == [2, 2, 5]


@given(st.data(), st.permutations(SYSTEMS), st.permutations(SYSTEMS))
def test_what_is_answered_belongs_to_systems_whatever_the_order_of_the_page(data, one, other):
    asked = questions(_facts(), StudySettings())
    fields = {
        q.name: data.draw(st.sampled_from([o.value for o in q.options]))
        for q in asked
        if data.draw(st.booleans())
    }
    content = parse(fields, asked, one)
    assert fields_of(content, asked, one) == fields
    assert parse(fields_of(content, asked, other), asked, other) == content
    assert {q.name for q in unanswered(content, asked, one)} == {q.name for q in asked} - set(
        fields
    )
    stored = Content(**json.loads(json.dumps(content.as_json())))
    assert stored == content


@given(
    st.permutations(("x", "y")), st.sampled_from(["A-clearly", "A-slightly", "tie", "B-clearly"])
)
def test_a_preference_is_stored_for_a_system_and_not_for_a_side(order, value):
    asked = questions(_facts(("x", "y")), StudySettings(mode="pairs"))
    content = parse({"preference": value, "acceptable_A": "no"}, asked, order)
    record = to_record(_facts(("x", "y")), content, order)
    assert record.preference is not None
    wanted = {"A": order[0], "B": order[1], "t": None}[value[0]]
    assert record.preference.better == wanted
    assert next(r for r in record.ratings if r.system == order[0]).acceptable is False
    assert fields_of(content_of(record), asked, order)["preference"] == value


def test_values_that_are_no_option_are_passed_over():
    asked = questions(_facts(), StudySettings())
    content = parse({"overall_A": "8", "rank_B": "0", "nonsense": "1"}, asked, SYSTEMS)
    assert content == Content()
