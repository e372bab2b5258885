"""The stages that prepare demonstrations: properties that hold whatever comes in, in any order."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.data import demonstration_stages as stages
from instrux.data.demonstrations import Demonstration, Shot
from instrux.data.personal_data import PatternFinder
from instrux.errors import InputError


def made(number, prompt="p", user=None, **fields):
    return Demonstration(id=str(number), prompt=prompt, completion="c", user_id=user, **fields)


prompts = st.text(alphabet="ab ", max_size=8)
users = st.one_of(st.none(), st.sampled_from("uvw"))
splits = st.sampled_from([None, "train", "validation", "test"])
rows = st.lists(st.tuples(prompts, users, splits), min_size=1, max_size=30).map(
    lambda given: [
        made(number, prompt, user, split=split)
        for number, (prompt, user, split) in enumerate(given)
    ]
)


def deduplicated(demonstrations, seed, tokens=3):
    groups = {}
    for each in demonstrations:
        groups.setdefault(stages.prefix_key(each, tokens), []).append(each)
    return {stages.deduplicated(group, seed)[0] for group in groups.values()}


@given(rows, st.randoms(), st.integers(0, 3))
def test_deduplication_knows_no_order_and_changes_nothing_twice(demonstrations, random, seed):
    demonstrations = [dataclasses.replace(d, labels=()) for d in demonstrations]  # hashable
    kept = deduplicated(demonstrations, seed)
    random.shuffle(demonstrations)
    assert deduplicated(demonstrations, seed) == kept
    assert deduplicated(kept, seed) == kept
    assert len({stages.prefix_key(each, 3) for each in kept}) == len(kept)


def test_a_long_common_start_makes_near_duplicates_and_a_short_one_does_not():
    start = "Write a story about a frog, "
    key = lambda text: stages.prefix_key(made(0, text), 6)  # noqa: E731
    assert key(start + "who swims") == key(start.upper() + "who flies")
    assert key("Write a story") != key("Write a story about a frog")
    assert key("Write a story about a frog") != key(start)  # one ends there, one goes on


@given(rows, st.randoms(), st.integers(1, 4), st.booleans())
def test_no_user_is_in_two_splits_nor_over_the_limit(demonstrations, random, limit, declared):
    by_unit = {}
    for each in demonstrations:
        by_unit.setdefault(each.unit, []).append(each)
    settings = {
        "shares": stages.SplitShares(0.3, 0.3),
        "limit": limit,
        "seed": 1,
        "declared_splits": declared,
    }
    for group in by_unit.values():
        kept, dropped = stages.of_one_user(group, **settings)
        assert len({each.split for each in kept}) <= 1
        assert len(kept) <= limit
        assert len(kept) + len(dropped) == len(group)
        if declared:
            said = {each.split for each in group} - {None}
            assert not said or {each.split for each in kept} <= said
        random.shuffle(group)
        assert stages.of_one_user(group, **settings)[0] == kept


def test_splits_get_about_their_shares():
    shares = stages.SplitShares(validation=0.2, test=0.1)
    found = [shares.split_of(f"user {number}", seed=0) for number in range(5000)]
    # Standard deviations of the counts: 28 and 21.
    assert abs(found.count("validation") - 1000) < 120
    assert abs(found.count("test") - 500) < 90
    with pytest.raises(InputError, match="leave something for training"):
        stages.SplitShares(0.5, 0.5)


def test_a_user_with_held_out_prompts_has_no_other_ones():
    group = [made(0, split="train", user="u"), made(1, split="test", user="u"), made(2, user="u")]
    kept, dropped = stages.of_one_user(
        group, shares=stages.SplitShares(), limit=9, seed=0, declared_splits=True
    )
    assert sorted((each.id, each.split) for each in kept) == [("1", "test"), ("2", "test")]
    assert [(each.id, reason) for each, reason in dropped] == [("0", stages.USER_IN_OTHER_SPLIT)]


def test_personal_data_is_removed_from_training_alone():
    text = "mail a@example.com"
    for split, kept in (("train", "mail [EMAIL]"), ("validation", text), ("test", text)):
        each = dataclasses.replace(
            made(0, text, split=split), completion=text, shots=(Shot(text, text),)
        )
        cleaned, audit = stages.without_personal_data(each, PatternFinder())
        assert {cleaned.prompt, cleaned.completion, *dataclasses.astuple(cleaned.shots[0])} == {
            kept
        }
        fields = [entry.field for entry in audit]
        assert fields == (
            ["prompt", "completion", "shots/0/query", "shots/0/response"]
            if split == "train"
            else []
        )


shots = st.lists(
    st.tuples(st.text("xyz", min_size=1, max_size=3), st.text("abc", max_size=3)), max_size=7
)


@given(shots, st.integers(1, 12), st.integers(1, 4), st.integers(0, 5))
def test_few_shot_prompts_differ_and_never_show_their_query(pairs, expansions, max_shots, seed):
    instruction = "Translate!"
    form = stages.FewShotForm(expansions=expansions, max_shots=max_shots)
    few_shot = made(
        7, instruction, kind="few_shot", shots=tuple(Shot(q, r) for q, r in pairs), split="train"
    )
    found = stages.expanded(few_shot, form, seed)
    assert found == stages.expanded(few_shot, form, seed)
    assert len({each.prompt for each in found}) == len({each.id for each in found}) == len(found)
    queries = {query for query, _ in pairs}
    if not pairs:
        assert found == [few_shot]
        return
    assert len(found) >= (min(expansions, len(queries)) if len(queries) > 1 else 0)
    assert len(found) <= expansions
    for each in found:
        head, *shown, asked = each.prompt.split("\n\n")
        query = asked.removeprefix("Input: ").removesuffix("\nOutput:")
        assert head == instruction
        assert 1 <= len(shown) <= max_shots
        assert not any(shot.startswith(f"Input: {query}\n") for shot in shown)
        assert (query, each.completion) in pairs
        assert not each.shots


def test_lengths_count_the_end_of_text_and_say_which_limit():
    limits = stages.LengthLimits(prompt=5, completion=4, together=8)
    assert limits.reason(5, 2) == ""
    assert limits.reason(6, 1) == stages.TOO_LONG_PROMPT
    assert limits.reason(1, 4) == stages.TOO_LONG_COMPLETION
    assert limits.reason(5, 3) == stages.TOO_LONG_TOGETHER


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    once = stages.normalised(made(0, text))
    assert stages.normalised(once) == once
    assert "\r" not in once.prompt
