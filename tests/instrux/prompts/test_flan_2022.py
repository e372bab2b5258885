import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.errors import InputError
from instrux.prompts.flan import FlanForm
from instrux.prompts.flan_2022 import (
    COT_SETS,
    COT_SETS_OF_LOWER_QUALITY,
    MMLU_TASK_NUMBERS,
    SOURCE_WEIGHTS,
    dataset_rate,
    form_weights,
    is_mmlu_task,
    parse_cot_line,
    source_weights,
)
from instrux.prompts.flan_answers import reasoned_answer
from instrux.prompts.flan_templates import load_key
from tasks.flan_keys import COT_PROMPTS


def test_the_weights_are_those_of_the_released_mixture():
    assert source_weights() == pytest.approx(
        {"flan2021": 0.40, "t0": 0.32, "niv2": 0.20, "cot": 0.05, "dialog": 0.03}
    )


def test_submixtures_of_a_source_are_equal_and_there_are_fourteen():
    weights = form_weights()
    assert len(weights) == 14
    assert sum(weights.values()) == pytest.approx(1)
    for form in ("zsopt", "fsopt", "zsnoopt", "fsnoopt"):
        assert weights[f"flan_{form}"] == pytest.approx(0.10)
        assert weights[f"t0_{form}"] == pytest.approx(0.08)
    for form in ("zsopt", "fsopt"):
        assert weights[f"niv2_{form}"] == pytest.approx(0.10)
        assert weights[f"cot_{form}"] == pytest.approx(0.025)
        assert weights[f"dialog_{form}"] == pytest.approx(0.015)


@given(available=st.sets(st.sampled_from(sorted(SOURCE_WEIGHTS)), min_size=1))
def test_what_is_available_is_brought_to_a_sum_of_one_in_proportion(available):
    weights = source_weights(available)
    assert set(weights) == available
    assert sum(weights.values()) == pytest.approx(1)
    first, *others = sorted(available)
    for other in others:
        ratio = SOURCE_WEIGHTS[first] / SOURCE_WEIGHTS[other]
        assert weights[first] / weights[other] == pytest.approx(ratio)


def test_unknown_sources_and_none_at_all_are_refused():
    with pytest.raises(InputError, match=r"unknown source 'nivv2'.*Did you mean 'niv2'"):
        source_weights(["nivv2"])
    with pytest.raises(InputError, match="at least one"):
        source_weights([])


def test_the_57_mmlu_tasks_are_known_by_number():
    assert len(MMLU_TASK_NUMBERS) == 57
    inside = [
        "task664_mmmlu_answer_generation_abstract_algebra",
        "task685_mmmlu_x",
        "task737_a.json",
    ]
    outside = ["task663_x", "task668_x", "task684_x", "task738_x", "task1664_x", "mmlu", "task_x"]
    assert all(map(is_mmlu_task, inside))
    assert not any(map(is_mmlu_task, outside))


def test_rates_are_capped_by_source_and_inverted_twins_weigh_less():
    assert dataset_rate("niv2", 12_000) == 5_000
    assert dataset_rate("cot", 7_473) == 7_473
    assert dataset_rate("cot", 7_473, inverted=True) == pytest.approx(2241.9)
    with pytest.raises(InputError, match="t0 has no inverted twin"):
        dataset_rate("t0", 10, inverted=True)
    with pytest.raises(InputError, match="unknown source"):
        dataset_rate("t1", 10)


def test_nine_chain_of_thought_sets():
    assert len({*COT_SETS, *COT_SETS_OF_LOWER_QUALITY}) == 9


def test_a_line_of_three_columns():
    row = parse_cot_line("A?\\nOptions:\\n- x\tx\tFirst.\\nThen.\n", "f.tsv:1")
    assert row.question == "A?\nOptions:\n- x"
    assert (row.answer, row.rationale) == ("x", "First.\nThen.")


@pytest.mark.parametrize(
    ("line", "message"),
    [("a\tb", "f.tsv:7: 2 columns"), ("a\t\tc", "the answer is empty"), ("", "1 columns")],
)
def test_a_bad_line_is_told_with_its_place(line, message):
    with pytest.raises(InputError, match=message):
        parse_cot_line(line, "f.tsv:7")


COT_ROW = {
    "question": "How many legs have two cats?",
    "answer": "8",
    "rationale": "Two times four.",
}


class TestChainOfThoughtTemplates:
    def test_ten_forward_ones_put_the_reasons_before_the_answer(self):
        templates = load_key(COT_PROMPTS, "cot")
        assert len(templates) == 10
        for index in range(10):
            text = FlanForm().render_with(templates, index, COT_ROW, "cot/0")
            assert COT_ROW["question"] in text.inputs
            assert "8" not in text.inputs and "times" not in text.inputs
            assert text.targets.startswith("Two times four.")
            assert reasoned_answer(text.targets) == "8"

    def test_ten_inverted_ones_ask_for_something_that_they_do_not_show(self):
        templates = load_key(COT_PROMPTS, "cot_inverted")
        assert len(templates) == 10
        for index in range(10):
            text = FlanForm().render_with(templates, index, COT_ROW, "cot/0")
            assert text.turned_around
            shown = {name for name, value in COT_ROW.items() if value in text.inputs}
            asked = {name for name, value in COT_ROW.items() if value in text.targets}
            assert shown and asked and not shown & asked

    def test_names_and_ids_differ(self):
        templates = [*load_key(COT_PROMPTS, "cot"), *load_key(COT_PROMPTS, "cot_inverted")]
        assert len({each.name for each in templates}) == len({each.id for each in templates}) == 20


def test_real_rows_go_through_all_forms(shared_data):
    files = sorted((shared_data / "flan_cot").glob("*.tsv"))
    assert files
    forward, inverted = load_key(COT_PROMPTS, "cot"), load_key(COT_PROMPTS, "cot_inverted")
    for path in files:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in zip(range(200), lines, strict=False):
                row = parse_cot_line(line, f"{path.name}:{number + 1}")
                for templates in (forward, inverted):
                    text = FlanForm().render(templates, row.fields, f"{path.stem}/{number}")
                    assert text.inputs and text.targets and "\\n" not in text.inputs
