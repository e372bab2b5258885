import subprocess
import sys

import pytest
import seqio

from instrux.data import registration
from instrux.data.natural_instructions_splits import TEST_CATEGORIES, read_split_list
from instrux.errors import InputError
from tasks import natural_instructions as tasks
from tasks.natural_instructions_table import by_name, split_of, table

WINOGRANDE = "ni_task033_winogrande_answer_generation"
QASC = "ni_task043_essential_terms_answering_incomplete_questions"


def test_the_table_is_the_published_lists(shared_data):
    folder = shared_data / "natural_instructions" / "splits"
    for split, count in (("train", 757), ("test", 119), ("excluded", 737)):
        published = read_split_list(folder / "default" / f"{split}_tasks.txt")
        ours = [task.other_name or task.name for task in split_of("default", split)]
        assert sorted(ours) == sorted(published)
        assert len(ours) == count
    published = read_split_list(folder / "xlingual" / "test_tasks.txt")
    assert sorted(task.name for task in split_of("xlingual", "test")) == sorted(published)
    assert len(split_of("xlingual", "train")) == 1271  # arXiv 2204.07705, section 6


def test_test_tasks_have_categories_and_no_task_is_tested_and_trained_on():
    for track in ("default", "xlingual"):
        assert {task.category for task in split_of(track, "test")} <= set(TEST_CATEGORIES)
    assert not {t.name for t in table() if t.default == "train" and t.xlingual == "test"}


def test_every_task_of_the_table_is_registered():
    names = [tasks.registered_name(task.name) for task in table()]
    assert len(set(names)) == 1613
    assert set(names) <= set(seqio.TaskRegistry.names())
    task = registration.prompted_task(WINOGRANDE)
    assert task.cluster == "Coreference Resolution"
    assert task.metrics[0] == "tk_instruct_rougeL"
    assert dict(task.splits) == {"test": "test"}


def test_the_other_name_of_a_task_finds_it():
    assert by_name()["task968_xcopa_commonsense_reasoning_et"].xlingual == "test"
    found = registration.find_name("ni_task968_xcopa_commonsense_reasoning_et")
    assert found == "ni_task968_xcopa_cause_effect_classification"


def test_a_task_of_ones_own_needs_nothing_but_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_MIRROR", str(tmp_path))
    (tmp_path / "task9002_acme_faq.json").write_text("{}")
    name = registration.find_name("ni_task9002_acme_faq")
    assert dict(registration.prompted_task(name).splits) == {"train": "train"}
    with pytest.raises(InputError, match=r"on no official list, and no task file task9003_x\.json"):
        registration.find_name("ni_task9003_x")


@pytest.mark.slow
def test_registration_takes_under_two_seconds_of_the_processor():
    program = (
        "import time, seqio, instrux.data.registration, tasks.text_metrics\n"
        "started = time.process_time()\n"
        "import tasks.natural_instructions, mixtures.tk_instruct\n"
        "print(time.process_time() - started)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.split()[-1]) < 2


def test_options_change_what_they_say():
    name = f"{QASC}:instruct_pos_2_neg_2_input:i8:e3:len256:seed7"
    assert registration.find_name(name) == name
    task = registration.prompted_task(name)
    assert (task.template.encoding, task.template.max_source_length) == (
        "instruct_pos_2_neg_2_input",
        256,
    )
    assert (task.source.max_train_instances, task.source.epochs, task.source.seed) == (8, 3, 7)
    assert task.seed == 7
    plain = registration.prompted_task(QASC)
    assert (plain.template.encoding, plain.source.max_train_instances) == (
        "instruct_pos_2_input",
        100,
    )
    tpu = registration.prompted_task(f"{QASC}:tpu:iall")
    assert (tpu.template.budget, tpu.template.text_to_text) == ("gpt2", True)
    assert tpu.source.max_train_instances is None


def test_splits_are_options():
    supervised = registration.prompted_task(f"{WINOGRANDE}:supervised")
    assert dict(supervised.splits) == {"train": "supervised"}
    assert supervised.template.draw_reference
    validation = registration.prompted_task(f"{QASC}:validation")
    assert dict(validation.splits) == {"validation": "validation"}
    assert not validation.template.draw_reference


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (f"{QASC}:pos_2", "no option 'pos_2'"),
        (f"{QASC}:i", "no option 'i'"),
        (f"{QASC}:e0", "no option 'e0'"),
        ("ni_task033_winogrande_answer_generatio", "Did you mean 'ni_task033_winogrande"),
        ("ni_task033_winogrande_answer_generatio:i8", "unknown task"),
    ],
)
def test_mistaken_names_are_told(name, complaint):
    with pytest.raises(InputError, match=complaint):
        registration.find_name(name)


@pytest.mark.slow
def test_seqio_reads_a_task_with_both_ends_marked(shared_data, monkeypatch):
    folder = shared_data / "natural_instructions"
    vocabulary = shared_data / "vocab" / "t5_32000.model"
    monkeypatch.setenv("INSTRUX_MIRROR", str(folder / "test119"))
    monkeypatch.setenv("INSTRUX_VOCABULARY", str(vocabulary))
    task = registration.prompted_task(WINOGRANDE)
    from instrux.data.seqio_source import PromptedTaskSource

    examples = list(PromptedTaskSource(task).get_dataset("test").as_numpy_iterator())
    assert len(examples) == 100
    assert examples[0]["targets"] == b"unicycle"
    assert seqio.TaskRegistry.get(WINOGRANDE).output_features["inputs"].add_eos
