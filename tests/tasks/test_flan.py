import json

import pytest

pytest.importorskip("seqio")

import seqio

from instrux.data import registration
from instrux.data.prompted_task import Skipped
from instrux.data.rendered import RenderedSplit
from instrux.errors import InputError
from pipelines.render import render
from tasks import flan  # noqa: F401
from tasks.flan_table import all_datasets

TRAIN_ROWS = 430  # 230 are trained on, 200 are held out


@pytest.fixture
def rte_mirror(tmp_path, monkeypatch):
    """SuperGLUE's RTE as a mirror has it."""
    home = tmp_path / "mirror" / "super_glue" / "rte"
    home.mkdir(parents=True)
    for split, count in {"train": TRAIN_ROWS, "validation": 7}.items():
        lines = (
            {"premise": f"{split} {n} is here.", "hypothesis": "It is.", "label": n % 2}
            for n in range(count)
        )
        (home / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path / "mirror"))


def plain(name):
    return registration.prompted_task(name)


def test_seventy_training_tasks_are_there_at_once():
    expected = {each.name for each in all_datasets().values() if each.member != "optional"}
    registered = {n for n in seqio.TaskRegistry.names() if n.endswith("_10templates")}
    assert {f"{name}_10templates" for name in expected} <= registered
    assert len(expected) == 70


@pytest.mark.parametrize(
    ("asked", "registered"),
    [
        ("rte_all_prompts", "rte_10templates"),
        ("rte_type_3_scoring_eval", "rte_type_3_score_eval"),
        ("rte_type_3_scoring_eval_ten_shot", "rte_type_3_ten_shot_score_eval"),
        ("cb_type_0_score_eval_no_options", "cb_type_0_no_options_score_eval"),
        ("cb_type_0_score_flan_no_options", "cb_type_0_no_options_score_eval"),
        ("continuations_arc_easy_type_0_scoring_eval", "continuations_arc_easy_type_0_score_eval"),
        ("para_crawl_ende_type_1", "para_crawl_ende_type_1"),
        ("squad_v1_4templates_multi_shot", "squad_v1_4templates_multi_shot"),
    ],
)
def test_released_names_are_found(asked, registered):
    assert registration.find_name(asked) == registered


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("rte_type_9_scoring_eval", "no options to rank"),  # turned around
        ("samsum_type_0_scoring_eval", "no options to rank"),
        ("samsum_type_0_score_eval_no_options", "samsum shows no options"),
        ("continuations_samsum_type_0", "no continuation prompts"),
        ("continuations_rte_10templates", "continuations have names like"),
        ("wsc273_type_0_one_shot", "no training rows"),
        ("rte_3templates", "unknown task"),
    ],
)
def test_names_that_cannot_be_are_told(name, told):
    with pytest.raises(InputError, match=told):
        registration.find_name(name)


def test_a_training_task_says_what_it_is():
    task = plain("arc_easy_10templates")
    assert (task.cluster, task.train_examples, task.metrics) == (
        "open_domain_qa",
        2051,
        ("accuracy",),
    )
    assert task.source.label == "ai2_arc/ARC-Easy"
    assert plain("rte_type_8").original_task and not plain("rte_type_9").original_task


@pytest.mark.parametrize("count", [1, 4])
def test_the_first_templates_only(count, rte_mirror):
    task = plain(f"rte_{count}templates").resolve()
    row = {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0}
    used = {task.render(row, f"x/default/train/{number}").template for number in range(20)}
    assert len(used) == count


def test_rows_are_cut_and_templates_take_turns(rte_mirror, tmp_path):
    task = plain("rte_10templates")
    render(tasks=[task], data_dir=tmp_path, splits=["train", "validation", "test"])
    split = {name: list(RenderedSplit(tmp_path, task.name, name).read()) for name in task.splits}
    assert {name: len(examples) for name, examples in split.items()} == {
        "train": 230,
        "validation": 200,
        "test": 7,
    }
    for examples in split.values():
        for example in examples:
            number = int(example.example_id.rpartition("/")[2])
            assert example.template == task.resolve().template.templates[number % 10].name
    numbers = sorted(int(each.example_id.rpartition("/")[2]) for each in split["validation"])
    assert numbers == list(range(230, 430))
    assert all("validation" in each.inputs for each in split["test"] if "here" in each.inputs)


def test_without_a_template_and_with_the_datasets_name(rte_mirror):
    row = {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0}
    bare = plain("rte_no_template").render(row, "x/default/train/0")
    named = plain("rte_dataset_name").render(row, "x/default/train/0")
    assert (bare.inputs, bare.targets) == ("It rains.\nIt is wet.", "yes")
    assert named.inputs == "[rte]\nIt rains.\nIt is wet."


def test_options_are_left_out_on_request(rte_mirror):
    row = {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0}
    shown = plain("rte_type_0").resolve().render(row, "x/default/train/0")
    hidden = plain("rte_type_0_no_options").resolve().render(row, "x/default/train/0")
    assert "OPTIONS:\n- yes\n- no" in shown.inputs
    assert "OPTIONS" not in hidden.inputs and hidden.inputs == hidden.inputs.strip()
    assert hidden.answer_choices == ("yes", "no")


def test_exemplars_are_rows_of_the_capped_training_split(rte_mirror, monkeypatch):
    monkeypatch.setenv("INSTRUX_VOCABULARY", "bytes")
    task = plain("rte_type_0_two_shot").resolve()
    assert len(task.template.pool) >= 10
    assert all(int(text.example_id.rpartition("/")[2]) < 230 for text in task.template.pool)
    number, row = next(iter(task.source.rows("test")))
    example = task.render(row, task.source.example_id("test", number))
    assert not isinstance(example, Skipped)
    assert example.inputs.count(" X 1 ") == 3 and example.inputs.endswith(" FLAN")
