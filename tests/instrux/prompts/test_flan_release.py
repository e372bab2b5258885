"""Importing a file in the released shape. The patterns here are invented."""

import os

import pytest

from instrux.errors import InputError
from instrux.prompts.flan import FlanForm
from instrux.prompts.flan_release import fetch_flan_templates, parse_patterns
from instrux.prompts.flan_templates import load_key

RELEASED = r'''
"""Invented templates."""
import os
os.environ["FLAN_TEMPLATES_WERE_RUN"] = "yes"
PATTERNS = {
    "rte": [
        ("{premise}\nSo: {hypothesis}n\n{options_}", "{answer}"),
        ("Braces {{ and }} and {% raw %} and {}: " "{hypothesis}\n\n" + "{premise}\n ", " {answer}"),
        ("Say anything.", "{premise}"),
    ],
    "wmt16_translate": [
        ("{sent1} in {lang2}", "{sent2}"),
        ("{sent2} in {lang1}", "{sent1}"),
        ("Anything in {lang2}", "{sent2}"),
        ("Language of {sent2}", "{lang2}"),
    ],
}
'''


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def checkout(tmp_path):
    path = tmp_path / "FLAN" / "flan" / "templates.py"
    path.parent.mkdir(parents=True)
    path.write_text(RELEASED)
    return tmp_path / "FLAN"


ROW = {
    "premise": "It {{rains}}. ",
    "hypothesis": "It is wet",
    "answer": "yes",
    "options": ["yes", "no"],
}


def render(folder, index, key="rte", row=ROW):
    return FlanForm().render_with(load_key(folder, key), index, row, "x/0")


def test_a_checkout_and_its_file_give_the_same(checkout, cache):
    folder = fetch_flan_templates(str(checkout))
    assert folder == cache / "flan-templates"
    first = (folder / "rte" / "templates.yaml").read_bytes()
    assert fetch_flan_templates(str(checkout / "flan" / "templates.py")) == folder
    assert (folder / "rte" / "templates.yaml").read_bytes() == first
    assert sorted(path.name for path in cache.iterdir()) == [
        "flan-templates",
        "flan-templates.lock",
    ]


def test_nothing_of_the_file_is_run(checkout):
    fetch_flan_templates(str(checkout))
    assert "FLAN_TEMPLATES_WERE_RUN" not in os.environ


def test_patterns_print_what_they_printed(checkout):
    folder = fetch_flan_templates(str(checkout))
    text = render(folder, 1)
    assert text.inputs == "Braces {{ and }} and {% raw %} and {}: It is wet\n\nIt {{rains}}. \n "
    assert text.targets == " yes"


def test_slips_are_mended_unless_they_are_asked_for(checkout, cache):
    mended = render(fetch_flan_templates(str(checkout)), 0)
    assert mended.inputs == "It {{rains}}. \nSo: It is wet\n\nOPTIONS:\n- yes\n- no"
    folder = fetch_flan_templates(str(checkout), as_released=True)
    assert folder == cache / "flan-templates-as-released"
    assert render(folder, 0).inputs == "It {{rains}}. \nSo: It is wetn\nOPTIONS:\n- yes\n- no"


def test_swapped_sentences_of_snli_are_swapped_back(tmp_path):
    pairs = ['("{premise} | {hypothesis}", "{answer}")'] * 7
    pairs += ['("{premise} holds if {hypothesis}?", "{answer}")'] * 2
    file = tmp_path / "templates.py"
    file.write_text(f'PATTERNS = {{"snli": [{", ".join(pairs)}]}}')
    folder = fetch_flan_templates(str(file))
    row = {**ROW, "premise": "P", "hypothesis": "H"}
    assert [render(folder, index, "snli", row).inputs for index in (6, 7, 8)] == [
        "P | H",
        "H holds if P?",
        "H holds if P?",
    ]


def test_templates_that_turn_the_task_around_are_found(checkout):
    folder = fetch_flan_templates(str(checkout))
    flags = {
        key: [template.metadata.turned_around for template in load_key(folder, key)]
        for key in ("rte", "wmt16_translate")
    }
    assert flags == {
        "rte": [False, False, True],
        "wmt16_translate": [False, False, True, True],
    }


def test_ids_are_stable(checkout):
    ids = [template.id for template in load_key(fetch_flan_templates(str(checkout)), "rte")]
    assert len(set(ids)) == 3
    again = fetch_flan_templates(str(checkout))
    assert [template.id for template in load_key(again, "rte")] == ids


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", "has no table PATTERNS"),
        ("PATTERNS = {", "line 1: cannot be read as Python"),
        ("PATTERNS = dict(a=1)", "line 1: PATTERNS is not a literal dictionary"),
        ('PATTERNS = {"a": open("x")}', "'a' is not a list"),
        ('PATTERNS = {"a": ["b"]}', "a template of 'a' is not a pair"),
        ('PATTERNS = {"a": [("b", f"{c}")]}', "a text is wanted here, and no code"),
        ('PATTERNS = {"a": [("b", str(1))]}', "a text is wanted here, and no code"),
        ('PATTERNS = {"../a": [("b", "c")]}', r"key '\.\./a' is no plain name"),
        ('PATTERNS = {"a": [("b", "c")], "a": [("b", "c")]}', "comes twice"),
        ("PATTERNS = {**other}", "a text is wanted here, and no code"),
        ('PATTERNS = {"a": [("b ||| c", "d")]}', r"\|\|\| in a template of 'a'"),
        ('PATTERNS = {"a": [("' + "b" * 20_001 + '", "d")]}', "over 20,000 characters"),
        ('PATTERNS = {"a": [' + '("b", "c"),' * 65 + "]}", "not a list of up to 64"),
        ("x = " + "(" * 5000 + ")" * 5000, "cannot be read as Python"),
    ],
)
def test_what_is_no_table_of_plain_texts_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        parse_patterns(content.encode(), "templates.py")


def test_a_file_that_is_refused_leaves_what_was_there(checkout):
    folder = fetch_flan_templates(str(checkout))
    (checkout / "flan" / "templates.py").write_text('PATTERNS = {"a": [("b", 1)]}')
    with pytest.raises(InputError):
        fetch_flan_templates(str(checkout))
    assert render(folder, 2).inputs == "Say anything."


def test_a_large_file_and_a_missing_one_are_refused(tmp_path):
    file = tmp_path / "templates.py"
    file.write_bytes(b"#" * (4 * 2**20 + 1))
    with pytest.raises(InputError, match="larger than"):
        fetch_flan_templates(str(file))
    with pytest.raises(InputError, match="give a checkout of google-research/FLAN"):
        fetch_flan_templates(str(tmp_path / "nothing"))


def test_without_the_network_it_says_what_to_do(monkeypatch):
    def offline(*arguments, **settings):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(InputError, match=r"no network.*clone it and give the folder by --source"):
        fetch_flan_templates()


def test_what_is_not_the_pinned_file_is_refused(monkeypatch):
    import io

    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **s: io.BytesIO(RELEASED.encode()))
    with pytest.raises(InputError, match=r"not flan/templates\.py of commit e9e4ec6"):
        fetch_flan_templates()
