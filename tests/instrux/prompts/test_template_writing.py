"""Template files are written as PromptSource writes them, and never lose what they held."""

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from instrux.errors import InputError
from instrux.prompts import TemplateCollection
from instrux.prompts.template_files import load_yaml
from instrux.prompts.template_writing import (
    TemplateDraft,
    new_template_file,
    open_template_file,
    template_path,
)

# What PromptSource 0.2.3's `DatasetTemplates.write_to_file` makes (`yaml.dump` of its objects):
# keys sorted, tags, a template's id as its key, absent metadata as null.
WRITTEN = """dataset: shop
subset: faq
templates:
  ID: !Template
    answer_choices: Yes ||| No
    id: ID
    jinja: '{{question}}

      |||

      {{answer_choices[label]}}'
    metadata: !TemplateMetadata
      choices_in_prompt: false
      languages: null
      metrics:
      - Accuracy
      original_task: true
    name: "is it caf\\xE9?"
    reference: ''
"""
DRAFT = TemplateDraft(
    name="is it café?",
    jinja="{{question}}\n|||\n{{answer_choices[label]}}",
    answer_choices="Yes ||| No",
    original_task=True,
    choices_in_prompt=False,
    metrics=("Accuracy",),
)


@pytest.fixture
def file(tmp_path):
    return new_template_file(tmp_path, "shop/faq")


def _write(file):
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.write_bytes(file.content())


def test_a_new_template_is_written_as_promptsource_does(file, tmp_path):
    file.put(DRAFT)
    text = file.content().decode()
    (key,) = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text))
    assert text.replace(key, "ID") == WRITTEN
    _write(file)
    read = TemplateCollection.load(tmp_path)["shop/faq"]["is it café?"]
    assert (read.jinja, read.id, read.metadata.metrics) == (DRAFT.jinja, key, ("Accuracy",))


def test_published_files_stay_as_they_are(release):
    """Byte for byte, but for those that were last written by other means: they fold lines elsewhere."""
    same, paths = 0, [dataset.path for dataset in release.values()][::5]
    for path in paths:
        content = open_template_file(path).content()
        same += content == path.read_bytes()
        loaded = yaml.safe_load(re.sub(rb"!Template(Metadata)?", b"", content))
        assert loaded == load_yaml(path), path
    assert same / len(paths) > 0.8


def test_changing_one_template_keeps_ids_unknown_fields_and_the_others(file):
    file.put(DRAFT)
    file.put(TemplateDraft(name="other", jinja="{{x}} ||| {{y}}"))
    text = file.content().replace(b"reference: ''", b"reference: ''\n    colour: blue")
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(b"checked: 2022\n" + text)
    again = open_template_file(file.path)
    again.put(TemplateDraft(name="renamed", jinja="{{question}} ||| a"), replacing="is it café?")
    _write(again)
    before, after = yaml.safe_load(_plain(text)), yaml.safe_load(_plain(again.content()))
    assert after["checked"] == 2022 and list(after["templates"]) == list(before["templates"])
    changed, kept = sorted(after["templates"].values(), key=lambda t: t["name"], reverse=True)
    assert kept in before["templates"].values()
    assert (changed["name"], changed["colour"], changed["answer_choices"]) == (
        "renamed",
        "blue",
        None,
    )
    again.remove("other")
    with pytest.raises(InputError, match="no template 'other'"):
        again.remove("other")


def _plain(content):
    return re.sub(rb"!Template(Metadata)?", b"", content)


@pytest.mark.parametrize(
    ("draft", "wanted"),
    [
        (TemplateDraft(name=" ", jinja="a ||| b"), "name is empty"),
        (TemplateDraft(name="a\nb", jinja="a ||| b"), "several lines"),
        (TemplateDraft(name="a", jinja=" \n"), "template is empty"),
        (TemplateDraft(name="a", jinja="{{ x ||| b"), "the template"),
        (TemplateDraft(name="a", jinja="a ||| b", answer_choices="{% if %}"), "answer choices"),
        (TemplateDraft(name="a", jinja="a\x00 ||| b"), "which YAML cannot"),
        (TemplateDraft(name="is it café?", jinja="a ||| b"), "another name"),
    ],
)
def test_a_wrong_draft_is_told_in_one_line(file, draft, wanted):
    file.put(DRAFT)
    before = file.content()
    with pytest.raises(InputError, match=re.escape(wanted)) as raised:
        file.put(draft)
    assert "\n" not in str(raised.value) and file.content() == before


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/../b", "a/b/c", "/etc", "a\\b", "a b", "é", ".a"]
)
def test_a_dataset_cannot_lie_outside_the_folder(tmp_path, name):
    with pytest.raises(InputError, match="no name of a dataset"):
        template_path(tmp_path, name)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "away").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out"):
        template_path(tmp_path / "own", "away")


_texts = st.text(
    st.characters(blacklist_categories=("Cs", "Cc")) | st.sampled_from("\n\t |#:'\"-"), max_size=80
)


@settings(max_examples=60, deadline=None)
@given(text=_texts, reference=_texts, metrics=st.lists(_texts.filter(str.strip), max_size=2))
def test_any_text_comes_back_as_it_was_written(tmp_path_factory, text, reference, metrics):
    file = new_template_file(tmp_path_factory.mktemp("own"), "shop")
    jinja = "{% raw %}" + text.replace("{", "").replace("%", "") + "{% endraw %}x"
    draft = TemplateDraft(name="n", jinja=jinja, reference=reference, metrics=tuple(metrics))
    try:
        draft.check()
    except InputError:
        return
    file.put(draft)
    _write(file)
    read = TemplateCollection.load(file.path.parent.parent)["shop"]["n"]
    assert (read.jinja, read.reference, read.metadata.metrics) == (jinja, reference, draft.metrics)
