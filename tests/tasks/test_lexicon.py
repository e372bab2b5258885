"""The lexicon's prompts: their table, their text, and that every row takes every prompt."""

import random
from collections import Counter, defaultdict

import pytest

from instrux.data import registration
from instrux.data.examples import RenderedExample
from instrux.data.lexicon_rows import ROW_TASKS, rows
from instrux.prompts import TemplateCollection
from tasks import lexicon


@pytest.fixture(scope="module")
def templates():
    return TemplateCollection.load(lexicon.PROMPTS)


def rendered(prompt, split="validation"):
    """All examples of a prompt in a split, with their rows."""
    task = prompt.prompted_task().resolve()
    for number, row in enumerate(rows(split, task=prompt.task)):
        yield row, task.render(row, f"{prompt.task}/{split}/{number}")


def test_at_least_sixteen_tasks_in_at_least_five_clusters_with_ten_prompts_each():
    with_instructions = [p for p in lexicon.prompts() if p.role != "no_instructions"]
    prompts_of_task = Counter(prompt.task for prompt in with_instructions)
    assert set(prompts_of_task) == set(ROW_TASKS)
    assert len(prompts_of_task) >= 16
    assert len({prompt.cluster for prompt in with_instructions}) >= 5
    assert set(prompts_of_task.values()) == {10}


def test_the_table_and_the_template_files_name_the_same_prompts(templates):
    in_table = defaultdict(set)
    for prompt in lexicon.prompts():
        in_table[f"lexicon/{prompt.task}"].add(prompt.template)
    assert {name: set(templates[name]) for name in templates} == in_table


def test_the_table_says_which_prompts_have_answer_choices(templates):
    for prompt in lexicon.prompts():
        template = templates[f"lexicon/{prompt.task}"][prompt.template]
        assert (template.answer_choices is not None) == prompt.has_answer_choices, prompt


def test_three_prompts_of_every_training_task_are_held_out_and_one_cluster_entirely():
    roles = defaultdict(Counter)
    for prompt in lexicon.prompts():
        roles[prompt.cluster, prompt.task][prompt.role] += 1
    for (cluster, _), count in roles.items():
        if cluster == "choosing_the_form":
            assert count == {"held_out_cluster": 10, "no_instructions": 1}
        else:
            assert count == {"train": 7, "held_out": 3, "no_instructions": 1}


@pytest.mark.parametrize("task", ROW_TASKS)
def test_every_prompt_renders_on_every_row(task):
    for prompt in lexicon.prompts():
        if prompt.task != task:
            continue
        for row, example in rendered(prompt):
            assert isinstance(example, RenderedExample), (prompt, row, example)
            assert "{" not in example.inputs + example.targets
            if prompt.has_answer_choices:
                assert example.answer_choices is not None
                assert example.targets in example.answer_choices
                assert len(set(example.answer_choices)) == len(example.answer_choices)
            else:
                assert example.answer_choices is None
                assert example.targets == row["answer"]


@pytest.mark.parametrize("task", ROW_TASKS)
def test_every_prompt_says_all_that_a_row_has(task):
    for prompt in lexicon.prompts():
        if prompt.task != task or (prompt.task, prompt.template) == (
            "which_comparative",
            "compare",  # asks which of the options compares two things
        ):
            continue
        for row, example in rendered(prompt):
            for field in ("word", "other", "letter"):
                assert row.get(field, "") in example.inputs, (prompt, row)
            for option in row.get("options", ()):
                assert option in example.inputs, (prompt, row)


@pytest.mark.parametrize("task", ["plural", "rhyme", "odd_start", "has_letter"])
def test_the_prompts_of_a_task_differ_in_text(task):
    texts = [
        next(iter(rendered(prompt)))[1].inputs
        for prompt in lexicon.prompts()
        if prompt.task == task
    ]
    assert len(set(texts)) == 11


def test_without_instructions_only_the_fields_are_left():
    inputs = {
        prompt.task: next(iter(rendered(prompt)))[1].inputs
        for prompt in lexicon.prompts_of("no_instructions")
    }
    first = {task: rows("validation", task=task)[0] for task in ROW_TASKS}
    assert inputs["plural"] == first["plural"]["word"]
    assert inputs["syllables"] == first["syllables"]["word"]
    assert inputs["same_start"] == f"{first['same_start']['word']} {first['same_start']['other']}"
    assert inputs["has_letter"] == f"{first['has_letter']['letter']} {first['has_letter']['word']}"
    assert inputs["odd_end"] == " ".join(first["odd_end"]["options"])
    rhyme = first["rhyme"]
    assert inputs["rhyme"] == " ".join([rhyme["word"], *rhyme["options"]])


def test_a_claim_is_true_where_the_answer_is_yes():
    claims = [p for p in lexicon.prompts() if p.task == "has_letter" and p.template == "claim"]
    for row, example in rendered(claims[0]):
        assert example.answer_choices == ("true", "false")
        assert example.targets == ("true" if row["letter"] in row["word"] else "false")


def test_the_tasks_are_registered_with_seqio_and_read_without_a_cache():
    seqio = pytest.importorskip("seqio")
    task = seqio.get_mixture_or_task("lexicon_rhyme_rhymes_with_score_eval")
    assert task.num_input_examples is not None
    prompted = registration.prompted_task("lexicon_rhyme_rhymes_with_score_eval")
    assert prompted.name == "lexicon_rhyme_rhymes_with"
    assert prompted.cluster == "sound"
    assert set(prompted.splits) == {"train", "validation", "test"}


def test_a_prompt_does_not_depend_on_chance():
    prompt = lexicon.prompts_of("held_out")[0]
    task = prompt.prompted_task().resolve()
    row = rows("test", task=prompt.task)[0]
    random.seed(1)
    once = task.render(row, "one")
    random.seed(2)
    assert task.render(row, "one") == once
