import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrux.errors import InputError
from instrux.prompts import Template, TemplateMetadata
from instrux.prompts.flan_templates import (
    forward,
    load_key,
    shows_options,
    template_index,
    template_key,
    tight,
    without_options,
)

FILE = """
templates:
  - name: z first
    jinja: |-
      {{premise}}

      {{options_}}
      |||
      {{answer}}
    metadata: {turned_around: false}
  - name: a last
    jinja: "{{answer}} ||| {{premise}}"
    metadata: {turned_around: true}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rte").mkdir()
    (tmp_path / "rte" / "templates.yaml").write_text(FILE)
    return tmp_path


@pytest.mark.parametrize(
    ("dataset", "key"),
    [
        ("anli_r2", "anli"),
        ("arc_easy", "arc"),
        ("mnli_mismatched", "mnli"),
        ("wmt16_translate_deen", "wmt16_translate"),
        ("para_crawl_enes", "para_crawl"),
        ("wmt14_enfr", "wmt14_enfr"),
        ("squad_v2", "squad_v2"),
    ],
)
def test_datasets_share_keys_as_released(dataset, key):
    assert template_key(dataset) == key


def test_templates_keep_the_order_of_the_file(folder):
    assert [template.name for template in load_key(folder, "rte")] == ["z first", "a last"]
    assert [template.name for template in forward(load_key(folder, "rte"))] == ["z first"]


def test_white_space_of_values_comes_through_and_that_of_the_file_does_not(folder):
    row = {"premise": "It rains. ", "options_": "OPTIONS:\n- no", "answer": " no"}
    rendered = load_key(folder, "rte")[0].apply(row, strip=False)
    assert rendered.parts == ["It rains. \n\nOPTIONS:\n- no", " no"]


def test_an_unknown_key_is_told_with_its_neighbours(folder):
    with pytest.raises(InputError, match=r"no templates for 'rtee'\. Did you mean 'rte'"):
        load_key(folder, "rtee")


def test_a_flag_that_is_no_flag_is_refused(folder):
    path = folder / "rte" / "templates.yaml"
    path.write_text(FILE.replace("turned_around: true", "turned_around: often"))
    with pytest.raises(InputError, match="'a last': `turned_around` must be true, false or absent"):
        load_key(folder, "rte")


def test_a_template_with_one_part_is_left_as_it_is():
    assert tight(Template("x", " {{a}} ")).jinja == " {{a}} "


@pytest.mark.parametrize("slot", ["{{options_}}", "{{ options_ }}", "{{options_str}}"])
def test_without_options_neither_they_nor_the_space_before_them_stay(slot):
    template = Template(
        "x", f"Is it?\n\n{slot}|||{{{{answer}}}}", metadata=TemplateMetadata(choices_in_prompt=True)
    )
    assert shows_options(template)
    bare = without_options(template)
    assert bare.jinja == "Is it?|||{{answer}}"
    assert not shows_options(bare)
    assert bare.metadata.choices_in_prompt is False


def test_options_in_the_middle_go_with_their_blank_lines():
    template = Template("x", "A\n{{options_}}\nB|||{{answer}}")
    assert without_options(template).jinja == "A\nB|||{{answer}}"


@given(rows=st.integers(0, 200), count=st.integers(1, 12))
def test_row_j_gets_template_j_modulo_n_and_none_is_dropped(rows, count):
    indices = [template_index(f"rte/default/train/{row}", count) for row in range(rows)]
    assert indices == [row % count for row in range(rows)]
    used = collections.Counter(indices)
    assert all(used[index] >= rows // count for index in range(count))


def test_a_seed_draws_templates_evenly_and_the_same_every_time():
    ids = [f"rte/default/train/{row}" for row in range(10_000)]
    first = [template_index(example_id, 10, seed=3) for example_id in ids]
    assert first == [template_index(example_id, 10, seed=3) for example_id in ids]
    assert first != [template_index(example_id, 10, seed=4) for example_id in ids]
    for count in collections.Counter(first).values():
        assert abs(count - 1000) < 4 * 30


def test_an_id_without_a_row_number_needs_a_seed():
    with pytest.raises(InputError, match="does not end in a row number"):
        template_index("rte/default/train/x", 10)
    assert 0 <= template_index("rte/default/train/x", 10, seed=0) < 10


def test_no_templates_are_refused():
    with pytest.raises(InputError, match="no template to choose from"):
        template_index("rte/0", 0)
