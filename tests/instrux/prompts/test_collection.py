import pickle
import random

import pytest

from instrux.errors import InputError
from instrux.prompts import TemplateCollection, TemplateReference
from instrux.prompts.errors import TemplateFileError, UnknownNameError

TAGGED = """
dataset: wrong
subset: 'None'
templates:
  0b1e: !Template
    answer_choices: null
    id: 0b1e
    jinja: '{{ text }} ||| {{ label }}'
    metadata: !TemplateMetadata
      choices_in_prompt: false
      metrics:
      - Accuracy
      original_task: true
    name: ' first '
    reference: ''
    task_template: true
"""
PLAIN = """
templates:
  - name: b
    jinja: "{{ x }} ||| y"
    answer_choices: "y ||| n"
  - name: a
    jinja: "{{ x }} ||| n"
"""
BY_NAME = """
templates:
  polite: {jinja: "Please: {{ x }} ||| y", metadata: {languages: [en]}}
"""


@pytest.fixture
def folder(tmp_path):
    for path, text in {
        "faq": PLAIN,
        "qa/one": TAGGED,
        "qa/two": BY_NAME,
        "craffel/lambada": TAGGED,
        "craffel/lambada/long": PLAIN,
        ".git": "not read",
    }.items():
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "templates.yaml").write_text(text)
    return tmp_path


def test_names_come_from_the_path(folder):
    collection = TemplateCollection.load(folder)
    assert list(collection) == [
        "craffel/lambada",
        "craffel/lambada/long",
        "faq",
        "qa/one",
        "qa/two",
    ]
    parts = [(each.dataset, each.subset) for each in collection.values()]
    assert parts == [
        ("craffel/lambada", None),
        ("craffel/lambada", "long"),
        ("faq", None),
        ("qa", "one"),
        ("qa", "two"),
    ]


def test_tagged_files_are_read_with_what_they_lack_or_have_too_much(folder):
    found = TemplateCollection.load(folder)["qa/one"][" first "]
    assert (found.id, found.answer_choices, found.reference) == ("0b1e", None, "")
    assert found.metadata.metrics == ("Accuracy",)
    assert (found.metadata.original_task, found.metadata.choices_in_prompt) == (True, False)
    assert found.metadata.languages == ()


def test_plain_files_need_neither_tags_nor_ids(folder):
    collection = TemplateCollection.load(str(folder))
    faq = collection["faq"]
    assert (list(faq), len(faq), "a" in faq, "c" in faq) == (["a", "b"], 2, True, False)
    assert faq["b"].apply({"x": 1}).answer_choices == ["y", "n"]
    polite = collection["qa/two"]["polite"]
    assert polite.apply({"x": 1}).inputs == "Please: 1"
    assert polite.metadata.languages == ("en",)
    ids = {template.id for template in collection.templates() if template.dataset != "qa/one"}
    again = TemplateCollection.load(folder)
    assert ids == {each.id for each in again.templates() if each.dataset != "qa/one"}
    assert len(ids) == 6  # five derived, one written down


@pytest.mark.parametrize(
    ("dataset", "name", "message"),
    [
        ("faqs", "a", r"has no dataset 'faqs'\. Did you mean 'faq'\?"),
        ("qa", "a", r"'qa' only by subset: qa/one, qa/two"),
        ("faq", "aa", r"faq has no template 'aa'\. Did you mean 'a'\?"),
        ("qa/one", "first", r"qa/one has no template 'first'\. Did you mean ' first '\?"),
        ("faq", "zzz", r"faq has no template 'zzz'\. It has 'a', 'b'"),
    ],
)
def test_unknown_names_are_told_apart(folder, dataset, name, message):
    collection = TemplateCollection.load(folder)
    with pytest.raises(UnknownNameError, match=message) as raised:
        collection[dataset][name]
    assert isinstance(raised.value, InputError) and isinstance(raised.value, KeyError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("templates: [", r"templates\.yaml, line 2: not a template file"),
        ("a: 1", "there is no `templates`"),
        ("templates: {n: {jinja: 5}}", "template 'n': `jinja` must be a text"),
        ("templates: [{jinja: a}]", "`name` must be a text"),
        ("templates: [x]", "not a mapping"),
        ("templates: [{name: n, jinja: a}, {name: n, jinja: b}]", "two templates are named 'n'"),
        ("templates: {n: {jinja: a, metadata: {metrics: x}}}", "`metrics` must be a list"),
        ("templates: {n: {jinja: a, metadata: {original_task: 1}}}", "`original_task` must be"),
        ("templates: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        (r'templates: {n: {jinja: "a\n{% if %}"}}', "template 'n', line 2: TemplateSyntaxError: "),
        ("templates: {n: {jinja: '{{ a | nope }}'}}", "line 1: .*No filter named 'nope'"),
        ("templates: {n: {jinja: a, answer_choices: '{{'}}", "template 'n', line 1: "),
        ("templates: {n: {jinja: a, answer_choices: [a]}}", "`answer_choices` must be a text"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, message):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "templates.yaml").write_text(text)
    with pytest.raises(TemplateFileError, match=message) as raised:
        list(TemplateCollection.load(tmp_path)["d"])
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)


def test_folders_without_templates_are_refused(tmp_path):
    with pytest.raises(InputError, match="no template release or folder"):
        TemplateCollection.load(tmp_path / "nowhere")
    with pytest.raises(TemplateFileError, match=r"no templates\.yaml in it"):
        TemplateCollection.load(tmp_path)
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "templates.yaml").write_text(PLAIN)
    with pytest.raises(TemplateFileError, match="at the wrong depth"):
        TemplateCollection.load(tmp_path)


def test_a_reference_travels_and_resolves(folder):
    reference = pickle.loads(pickle.dumps(TemplateReference(str(folder), "qa", "two", "polite")))
    assert reference.resolve().jinja == "Please: {{ x }} ||| y"
    assert reference.resolve() is reference.resolve()
    with pytest.raises(UnknownNameError):
        TemplateReference(str(folder), "qa", None, "polite").resolve()


# As PromptSource's repository has it after its last release: every template names its languages.
LATER_STATE = """
dataset: race
subset: high
templates:
  26fdd0e9: !Template
    answer_choices: Yes ||| No
    id: 26fdd0e9
    jinja: '{% set candidate = ["A", "B"] | choice %}

      Is {{ options[{"A":0,"B":1}[candidate]] }} right?

      |||

      {{ answer_choices[0 if candidate == answer else 1] }}'
    metadata: !TemplateMetadata
      choices_in_prompt: true
      languages:
      - en
      - fr
      metrics:
      - Accuracy
      original_task: false
    name: Is this right
    reference: ''
"""


def test_the_later_state_of_the_repository_is_read_with_its_languages(tmp_path):
    (tmp_path / "race" / "high").mkdir(parents=True)
    (tmp_path / "race" / "high" / "templates.yaml").write_text(LATER_STATE)
    reference = TemplateReference(str(tmp_path), "race", "high", "Is this right")
    template = reference.resolve()
    assert template.metadata.languages == ("en", "fr")
    assert (template.metadata.original_task, template.metadata.choices_in_prompt) == (False, True)
    assert template.metadata.metrics == ("Accuracy",)
    row = {"options": ["rain", "snow"], "answer": "B"}
    drawn = {template.apply(row, random.Random(seed))[1:3] for seed in range(20)}
    assert drawn == {("Is rain right?", "No"), ("Is snow right?", "Yes")}
