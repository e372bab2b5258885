import json
import pickle
import random
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.errors import InputError
from instrux.prompts import Template
from instrux.prompts.errors import RenderError
from instrux.prompts.template import PROTECTOR

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "specs" / "promptsource_cases.jsonl"
DRAW_ORDER = Path(__file__).with_name("draw_order_cases.jsonl")
DRAWN_EXAMPLE = {"x": ["u", "v", "w", "s|||t"], "y": "Y|||Z"}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def lines(path: Path) -> list[dict]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def template(jinja: str, answer_choices: str | None = None) -> Template:
    return Template("a template", jinja, answer_choices, dataset="acme/faq")


@pytest.mark.skipif(not GOLDEN.exists(), reason="the reference cases are not here")
@pytest.mark.parametrize("case", lines(GOLDEN), ids=lambda case: case["id"])
def test_renders_as_promptsource_does(case, release):
    name = case["dataset"] if case["subset"] is None else f"{case['dataset']}/{case['subset']}"
    found = release[name][case["template_name"]]
    expected = case["expected"]
    assert found.fixed_answer_choices == expected["fixed_choices"]
    rng = None if case["seed"] is None else random.Random(case["seed"])
    arguments = {"truncate": case["truncate"], "highlight": case["highlight"]}
    if expected["error"] is not None:
        with pytest.raises(RenderError) as raised:
            found.apply(case["example"], rng, **arguments)
        assert type(raised.value).__name__ == expected["error"]["type"]
        return
    rendered = found.apply(case["example"], rng, **arguments)
    assert rendered.parts == expected["parts"]
    assert rendered.inputs == expected["inputs"]
    assert rendered.targets == expected["targets"]
    assert rendered.answer_choices == expected["answer_choices"]


@pytest.mark.parametrize("case", lines(DRAW_ORDER))
def test_draws_in_promptsource_order(case):
    """The cases are the output of PromptSource 0.2.3 itself, Python 3.9 and Jinja 3.1.6."""
    drawing = template(case["jinja"], case["answer_choices_expression"])
    for _ in range(2):  # once compiling, once from what is compiled
        rng = random.Random(case["seed"])
        if case["error"] is not None:
            with pytest.raises(RenderError) as raised:
                drawing.apply(DRAWN_EXAMPLE, rng, truncate=case["truncate"])
            assert type(raised.value).__name__ == case["error"]
        else:
            rendered = drawing.apply(DRAWN_EXAMPLE, rng, truncate=case["truncate"])
            assert rendered.parts == case["parts"]
            assert rendered.answer_choices == case["answer_choices"]
        assert rng.random() == case["next_draw"]


def test_every_example_draws_afresh_from_a_constant_list():
    drawing = template("{{ ['a', 'b', 'c', 'd'] | choice }} ||| t")
    drawn = {drawing.apply({}, random.Random(seed)).inputs for seed in range(50)}
    assert drawn == {"a", "b", "c", "d"}


def test_the_global_generator_is_left_alone():
    random.seed(5)
    before = random.getstate()
    template("{{ x | choice }}{{ x | random }}{{ [1, 2] | choice }} ||| t").apply(
        {"x": [1, 2, 3]}, random.Random(1)
    )
    assert random.getstate() == before


@pytest.mark.parametrize("jinja", ["{{ [1, 2] | choice }}", "{{ x | choice }}", "{{ x | random }}"])
def test_a_draw_without_a_generator_is_refused(jinja):
    with pytest.raises(InputError, match=r"'a template' of acme/faq: .*draws at random"):
        template(jinja).apply({"x": [1, 2]})


@pytest.mark.parametrize(
    ("length", "kept"), [(2048, 2048), (2053, 2053), (2054, 2048), (5000, 2048)]
)
def test_truncation_without_spaces(length, kept):
    text = template("{{ x }} ||| t").apply({"x": "a" * length}).inputs
    assert text is not None and len(text) == kept
    assert text.endswith("...") == (length > 2053)


def test_truncation_drops_the_last_partial_word():
    words = "four " * 1000
    text = template("{{ x }} ||| t").apply({"x": words}).inputs
    assert text == ("four " * 409).rstrip() + "..."  # 2,045 characters are 409 words and a space
    assert template("{{ x }} ||| t").apply({"x": words}, truncate=False).inputs == words.strip()


def test_parts_keep_their_outer_whitespace_without_strip():
    rendered = template("\n{{ x }} ||| {{ y }}\n\n").apply({"x": "a", "y": "b"}, strip=False)
    assert rendered.parts == ["\na ", " b\n"]


def test_one_part_where_the_template_does_not_apply():
    rendered = template("{% if label != -1 %}a ||| b{% endif %}", "y ||| n").apply({"label": -1})
    assert (rendered.parts, rendered.inputs, rendered.targets) == ([""], None, None)
    assert rendered.answer_choices == ["y", "n"]


def test_an_example_may_not_name_answer_choices():
    with pytest.raises(ValueError, match="restricted key") as raised:
        template("a ||| b").apply({"answer_choices": ["x"]})
    assert isinstance(raised.value, InputError)


def test_errors_keep_their_type_and_name_the_template():
    with pytest.raises(jinja2.UndefinedError) as raised:
        template("{{ x.y.z }} ||| t").apply({"x": {}})
    error = raised.value
    assert isinstance(error, InputError)
    assert str(error).startswith("template 'a template' of acme/faq: UndefinedError: ")
    assert "\n" not in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_syntax_error_names_its_line():
    with pytest.raises(jinja2.TemplateSyntaxError, match=r"of acme/faq, line 2: ") as raised:
        template("a\n{% if %} ||| t").apply({})
    assert isinstance(raised.value, InputError)


def test_a_row_is_never_changed():
    row = {"x": [1, 2], "d": {"a": [1]}}
    changing = template(
        "{{ x.append(3) or '' }}{{ d.a.pop() }}{{ d.update(a=2) or '' }}{{ x }} ||| t"
    )
    assert changing.apply(row).inputs == "1[1, 2, 3]"
    assert row == {"x": [1, 2], "d": {"a": [1]}}


def test_choices_given_out_are_not_shared():
    fixed = template(
        "{{ answer_choices.append('c') or '' }}{{ answer_choices | length }} ||| t", "a ||| b"
    )
    for _ in range(2):
        rendered = fixed.apply({})
        assert rendered.inputs == "3"
        assert rendered.answer_choices == ["a", "b"]
        assert fixed.fixed_answer_choices == ["a", "b"]


def test_a_template_travels():
    original = template("{{ x }} ||| {{ answer_choices[0] }}", "a ||| b")
    original.apply({"x": 1})
    copied = pickle.loads(pickle.dumps(original))
    assert copied == original and hash(copied) == hash(original)
    assert copied.apply({"x": 1}) == original.apply({"x": 1})


@given(texts, texts)
def test_separators_in_values_come_back(text, other):
    assert PROTECTOR not in text + other
    value = f"{text}|||{other}"
    rendered = template("p {{ x }} ||| {{ x }}").apply({"x": value}, strip=False)
    assert rendered.parts == [f"p {value} ", f" {value}"]


@given(st.text(max_size=5000))
def test_a_printed_value_is_never_longer_than_the_bound(text):
    printed = template("{{ x }}").apply({"x": text}, strip=False).parts
    assert len("|||".join(printed)) <= 2053 + text.count("|||") * 3


@given(st.integers(0, 2**32), st.lists(texts, min_size=1, max_size=6))
def test_the_same_state_gives_the_same_rendering(seed, items):
    drawing = template("{{ ['p', 'q', 'r'] | choice }} {{ x | choice }} ||| {{ x | random }}")
    first = drawing.apply({"x": items}, random.Random(seed))
    assert drawing.apply({"x": items}, random.Random(seed)) == first
