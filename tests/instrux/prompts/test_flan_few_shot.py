import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.errors import InputError
from instrux.prompts.flan import FlanText
from instrux.prompts.flan_few_shot import (
    BUDGET_2021,
    LAYOUT_2021,
    LAYOUT_CONTINUATIONS,
    LAYOUTS_2022,
    MIXED_TEMPLATES_2022,
    MULTI_SHOT_2021,
    ONE_TEMPLATE_2022,
    FewShotForm,
    FewShotLayout,
    draw_exemplars,
    draw_layout,
    exemplars_that_fit,
    in_pool,
    released_exemplars,
)


def text(number: int, inputs: str = "", targets: str = "", template: int = 0) -> FlanText:
    return FlanText(
        inputs=inputs or f"question {number}",
        targets=targets or f"answer {number}",
        template="t",
        template_index=template,
        template_type="zs_opt",
        turned_around=False,
        answer_choices=("a", "b"),
        references=None,
        example_id=f"x/default/train/{number}",
    )


def words(line: str) -> int:
    return len(line.split())


def test_the_layout_of_2021():
    prompt = LAYOUT_2021.assemble([("in1", "out1"), ("in2", "out2")], "query")
    assert prompt == "0 in1 X 1 out1 X 0 in2 X 1 out2 X 0 query X 1 FLAN"


def test_no_exemplar_in_the_layout_of_2021_is_the_zero_shot_wrapper():
    assert LAYOUT_2021.assemble([], "query") == "0 query X 1 FLAN"


def test_continuations_have_no_markers():
    prompt = LAYOUT_CONTINUATIONS.assemble([("The sky is", "blue.")], "Grass is")
    assert prompt == "The sky is blue.\n\nGrass is"


def test_layouts_of_2022_keep_newlines_and_end_where_the_answer_begins():
    layout = FewShotLayout("Q: ", "A: ", "\n", "\n\n")
    assert layout.assemble([("1+1?", "2")], "2+2?") == "Q: 1+1?\nA: 2\n\nQ: 2+2?\nA:"
    assert FewShotLayout().assemble([("x", "y")], "z") == "x\n\ny\n\n\nz\n\n"


def test_our_layouts_of_2022_differ():
    prompts = {layout.assemble([("x", "y")], "z") for layout in LAYOUTS_2022}
    assert len(prompts) == len(LAYOUTS_2022) == 10


def test_a_layout_is_a_function_of_seed_and_query():
    assert draw_layout("x/0", seed=1) == draw_layout("x/0", seed=1)
    drawn = {id(draw_layout(f"x/{number}", seed=1)) for number in range(200)}
    assert len(drawn) == 10


@pytest.mark.parametrize(("limit", "kept"), [(15, 3), (13, 2), (10, 2), (8, 1), (1, 0)])
def test_as_many_exemplars_as_the_specification_says(limit, kept):
    # Exemplar inputs of 1, 2 and 3 tokens, targets of 1 each, a query of 5.
    assert exemplars_that_fit([2, 3, 4], query_tokens=5, budget=limit) == kept


@given(
    lengths=st.lists(st.integers(0, 200), max_size=30),
    query=st.integers(0, 1200),
    budget=st.integers(0, 1200),
)
def test_exemplars_fill_the_budget_from_the_front(lengths, query, budget):
    kept = exemplars_that_fit(lengths, query_tokens=query, budget=budget)
    assert kept == 0 or sum(lengths[:kept]) + query <= budget
    assert kept == len(lengths) or sum(lengths[: kept + 1]) + query > budget


def test_exemplars_over_the_budget_go_and_the_query_stays():
    query = text(0, inputs="q " * 950)
    prompt = MULTI_SHOT_2021.prompt(query, [text(1), text(2)], words)
    # 950 words of the query and one of its delimiter leave 9: one exemplar has 2 + 1 + 2.
    assert prompt is not None
    assert prompt.inputs.startswith("0 question 1 X 1 answer 1 X 0 q q")
    assert "question 2" not in prompt.inputs
    assert prompt.template_type == "fs_opt"
    assert prompt.answer_choices == ("a", "b")


def test_without_room_2021_asks_zero_shot_and_2022_drops_the_query():
    query = text(0, inputs="q " * 3000)
    zero_shot = MULTI_SHOT_2021.prompt(query, [text(1)], words)
    assert zero_shot is not None
    assert zero_shot.inputs == f"0 {query.inputs} X 1 FLAN"
    assert MIXED_TEMPLATES_2022.prompt(query, [text(1)], words) is None


def test_exemplars_of_other_templates_are_left_out_before_the_budget_is_filled():
    exemplars = [text(1, template=1), text(2, template=0), text(3, template=1)]
    prompt = ONE_TEMPLATE_2022.prompt(text(0, template=1), exemplars, words)
    assert prompt is not None
    assert "question 1" in prompt.inputs and "question 3" in prompt.inputs
    assert "question 2" not in prompt.inputs
    assert ONE_TEMPLATE_2022.prompt(text(0, template=2), exemplars, words) is None


def test_without_a_budget_all_stay():
    form = FewShotForm(budget=None)
    prompt = form.prompt(text(0), [text(number) for number in range(1, 400)], words)
    assert prompt is not None and "question 399" in prompt.inputs


def test_forms_without_options_stay_so():
    query = dataclasses.replace(text(0), template_type="zs_noopt")
    prompt = MULTI_SHOT_2021.prompt(query, [text(1)], words)
    assert prompt is not None and prompt.template_type == "fs_noopt"


def test_the_pool_has_its_share_of_rows_and_other_seeds_give_other_pools():
    ids = [f"x/default/train/{number}" for number in range(20_000)]
    pool = {each for each in ids if in_pool(each, share=0.1)}
    assert abs(len(pool) - 2000) < 4 * 43
    assert pool == {each for each in ids if in_pool(each, share=0.1)}
    assert pool != {each for each in ids if in_pool(each, share=0.1, seed=1)}
    assert pool < {each for each in ids if in_pool(each, share=0.2)}


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InputError, match="share="):
        in_pool("x/0", share=share)


@given(seed=st.integers(0, 1000), query=st.integers(0, 30), shots=st.integers(1, 19))
def test_a_query_never_meets_itself(seed, query, shots):
    pool = [text(number) for number in range(20)]
    drawn = draw_exemplars(pool, f"x/default/train/{query}", shots, seed=seed)
    ids = [each.example_id for each in drawn]
    assert len(set(ids)) == shots
    assert f"x/default/train/{query}" not in ids


def test_exemplars_do_not_depend_on_other_queries():
    pool = [text(number) for number in range(50)]
    assert draw_exemplars(pool, "x/99", 5, seed=1) == draw_exemplars(pool, "x/99", 5, seed=1)
    assert draw_exemplars(pool, "x/99", 5, seed=1) != draw_exemplars(pool, "x/98", 5, seed=1)


def test_a_pool_that_is_too_small_is_told():
    with pytest.raises(InputError, match="3 exemplars are asked for and the pool has 2"):
        draw_exemplars([text(0), text(1), text(2)], "x/default/train/1", 3)


def test_released_exemplars_use_every_row_once_and_may_be_the_query_itself():
    rows = [text(number) for number in range(23)]
    groups = [released_exemplars(rows, position, 5) for position in range(4)]
    ids = [each.example_id for group in groups for each in group]
    assert len(set(ids)) == 20
    assert released_exemplars(rows, 4, 5) == groups[0]
    met_itself = [
        position
        for position in range(23)
        if rows[position] in released_exemplars(rows, position, 5)
    ]
    assert met_itself  # the leak that issues 19 and 31 are about


def test_released_exemplars_need_enough_rows():
    with pytest.raises(InputError, match="5 exemplars are asked for and there are 4 rows"):
        released_exemplars([text(number) for number in range(4)], 0, 5)


def test_the_budget_of_2021_leaves_64_tokens_for_separators():
    assert 1024 - 64 == BUDGET_2021
