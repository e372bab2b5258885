"""`instrux tasks show` and `instrux mixtures show`: what they tell, to people and to programs."""

import json
import re
import sys

import pytest

pytest.importorskip("seqio")

from instrux.data.examples import RenderedExample
from instrux.data.files import write_atomically
from instrux.data.manifest import FileRecord, Manifest
from instrux.data.packed_manifest import FORMAT, PackedTask, PackManifest
from instrux.data.rendered import RenderedSplit, shard_name
from instrux.data.tfrecord import frame
from instrux.errors import InputError
from instrux.prompts import TemplateCollection
from launch import cli


@pytest.fixture(scope="module")
def t0_train():
    """What the command tells of T0's mixture, read once."""
    import io
    from contextlib import redirect_stdout

    with redirect_stdout(io.StringIO()) as out:
        assert cli.main(["mixtures", "show", "t0_train", "--json"]) == 0
    return json.loads(out.getvalue())


@pytest.fixture
def templates():
    try:
        TemplateCollection.load("promptsource-0.2.3")
    except InputError as error:
        pytest.skip(f"no templates: {error}")


@pytest.fixture
def run(capsys):
    def run(*arguments, status=0):
        assert cli.main(arguments) == status
        captured = capsys.readouterr()
        return captured.out if status == 0 else captured.err

    return run


def test_shares_by_task_type_are_those_of_t0(t0_train):
    # Worked out from T0's public table of sizes; in percent.
    shares = {part["name"]: 100 * part["probability"] for part in t0_train["task_types"]}
    assert shares == pytest.approx(
        {
            "summarization": 31.8,
            "paraphrase": 16.2,
            "sentiment": 14.5,
            "QA_extractive": 9.6,
            "QA_multiple_choice": 9.2,
            "topic_classification": 8.3,
            "structure_to_text": 6.4,
            "QA_closed_book": 3.9,
        },
        abs=0.1,
    )
    assert [part["name"] for part in t0_train["task_types"]][:2] == ["summarization", "paraphrase"]
    assert sum(part["tasks"] for part in t0_train["task_types"]) == 313
    assert sum(part["datasets"] for part in t0_train["task_types"]) == 38


@pytest.mark.parametrize(
    ("dataset", "percent"),
    [
        ("cnn_dailymail/3.0.0", 15.0),
        ("glue/qqp", 12.6),
        ("xsum", 11.8),
        ("app_reviews", 6.7),
        ("ag_news", 4.9),
    ],
)
def test_shares_of_the_largest_datasets_are_those_of_t0(t0_train, dataset, percent):
    shares = [each["probability"] for each in t0_train["tasks"] if each["dataset"] == dataset]
    assert 100 * sum(shares) == pytest.approx(percent, abs=0.05)


def test_every_task_has_all_that_is_known_of_it(t0_train):
    assert t0_train["rate"] == 17_277_798
    by_name = {each["task"]: each for each in t0_train["tasks"]}
    qqp = by_name["glue_qqp_quora"]
    assert (qqp["rate"], qqp["train_examples"], qqp["cluster"]) == (363_846, 363_846, "paraphrase")
    assert qqp["probability"] == pytest.approx(363_846 / 17_277_798)
    assert qqp["defects"] == ["hidden_label_qqp"] and not qqp["mended"]
    # Capped: 500,000 by nine prompts, of 3,600,000 rows.
    amazon = by_name["amazon_polarity_Is_this_review"]
    assert (amazon["rate"], amazon["train_examples"]) == (55_555, 3_600_000)
    assert amazon["licence"] == "apache-2.0"
    assert amazon["tokens"] is None and t0_train["token_source"] is None
    assert not by_name["kilt_tasks_hotpotqa_formulate"]["original_task"]
    licences = {part["name"]: part["tasks"] for part in t0_train["licences"]}
    assert sum(licences.values()) == 313


def test_what_is_held_out_from_t0(t0_train):
    held_out = {each["dataset"]: each for each in t0_train["held_out"]}
    assert (
        sum(each["prompts"] for each in held_out.values()) == 116 + 16 + 28
    )  # the last is WinoBias
    assert held_out["anli"]["prompts"] == 45
    assert not any(each["trained_on"] for each in held_out.values())
    # Three of the four held-out types are wholly unseen; COPA's has other datasets in training.
    seen = {each["cluster"] for each in held_out.values() if each["task_type_trained_on"]}
    assert seen == {"QA_multiple_choice"}


def test_t0_plus_says_that_it_trains_on_hellaswag(run):
    told = json.loads(run("mixtures", "show", "t0+_train", "--json"))
    assert [each["dataset"] for each in told["held_out"] if each["trained_on"]] == ["hellaswag"]


@pytest.mark.parametrize(
    "name", ["t0_eval_score_eval", "t0_train_score_eval", "bias_fairness_eval_generation"]
)
def test_an_evaluation_mixture_has_nothing_held_out(run, name):
    assert json.loads(run("mixtures", "show", name, "--json"))["held_out"] == []


def test_a_mended_mixture_has_fewer_defects(run, t0_train):
    told = json.loads(run("mixtures", "show", "t0_train_mended", "--json"))
    assert (told["mixture"], len(told["tasks"])) == ("t0_train_mended", 313)
    assert told["with_defects"] == 0 < t0_train["with_defects"]


def test_piped_it_is_lines_of_columns_without_colour_or_box(run):
    lines = run("mixtures", "show", "t0_train_d3").splitlines()
    assert "Tokens: not known without data" in lines[1]
    start = lines.index("share\trate\trows\tlicence\ttask")
    rows = [line.split("\t") for line in lines[start + 1 : lines.index("By task type") - 1]]
    assert all(len(row) == 5 for row in rows)
    assert sum(float(row[0].rstrip("%")) for row in rows) == pytest.approx(100, abs=0.5)
    assert not set("\x1b─│━") & set("".join(lines))


def test_in_a_terminal_its_tables_fit_a_hundred_columns(run, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "180")
    coloured = run("mixtures", "show", "t0_train")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines()
    tables = lines[lines.index("") : -2]
    assert any("dbpedia_14_given_a_list_of_category" in line for line in tables)
    assert max(map(len, tables)) <= 100


# --- Tokens ------------------------------------------------------------------------------------

MIXTURE = "t0_train_d1"


@pytest.fixture
def tasks(run):
    told = json.loads(run("mixtures", "show", MIXTURE, "--json"))
    return [each["task"] for each in told["tasks"]]


def write_packed(data_dir, tasks):
    """A manifest in which task n has n + 1 times 30 tokens of inputs and 10 of targets."""
    zeros = {"inputs_truncated": 0, "targets_truncated": 0, "source_digest": ""}
    counts = {"rate": 1, "share_asked": 0.5, "share": 0.5, "examples": 100, "available": 50}
    packed = [
        PackedTask(name=name, inputs_tokens=3000 * n, targets_tokens=1000 * n, **counts, **zeros)
        for n, name in enumerate(tasks, start=1)
    ]
    manifest = PackManifest(
        settings={"format": FORMAT, "inputs_length": 64, "targets_length": 16},
        vocabulary_path=None,
        vocab_size=300,
        tasks=tuple(packed),
        shards=(),
        rows=1,
        examples=100 * len(tasks),
        inputs_efficiency=1.0,
        targets_efficiency=1.0,
        rows_lower_bound=1,
        instrux_version="test",
    )
    folder = data_dir / "packed" / f"{MIXTURE}-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(manifest.to_json())
    (folder / "COMPLETED").touch()


def write_rendered(data_dir, task, inputs, targets):
    split = RenderedSplit(data_dir, task, "train")
    records = [
        RenderedExample(inputs, targets, f"toy/default/train/{n}", "t").to_bytes() for n in (0, 1)
    ]
    name = shard_name("train", 0, 1)
    size, digest = write_atomically(split.folder / name, map(frame, records))
    metadata = {"dataset": "toy", "config": None, "template": "t", "cluster": "", "metrics": []}
    metadata |= {"answer_choices": None, "original_task": True, "train_examples": None}
    manifest = Manifest(
        stage="render",
        settings={},
        files=[FileRecord(name, size, digest, 2)],
        counts={"examples": 2, "rows": 2},
        metadata=metadata,
    )
    split.completed().complete(manifest)


def test_a_packed_set_tells_the_tokens(run, tasks, tmp_path):
    write_packed(tmp_path, tasks)
    told = json.loads(run("mixtures", "show", MIXTURE, "--json", "--data_dir", str(tmp_path)))
    assert told["token_source"].startswith(f"{MIXTURE}-0123456789ab: all ")
    found = {each["task"]: each["tokens"] for each in told["tasks"]}
    assert found[tasks[0]] == {"inputs": 30.0, "targets": 10.0}
    assert found[tasks[1]] == {"inputs": 60.0, "targets": 20.0}
    # All rates are equal, so the mean is that of 1 to n times 30.
    mean = 30 * (len(tasks) + 1) / 2
    assert told["inputs_per_example"] == pytest.approx(mean)
    assert sum(each["token_share"] for each in told["tasks"]) == pytest.approx(1)
    shares = {each["task"]: each["token_share"] for each in told["tasks"]}
    assert shares[tasks[1]] == pytest.approx(2 * shares[tasks[0]])
    assert "\tof tokens\t" in run("mixtures", "show", MIXTURE, "--data_dir", str(tmp_path))


def test_rendered_text_is_counted_where_nothing_is_packed(run, tasks, tmp_path):
    write_rendered(tmp_path, tasks[0], "four", "yes")
    arguments = ("mixtures", "show", MIXTURE, "--data_dir", str(tmp_path), "--vocabulary", "bytes")
    told = json.loads(run(*arguments, "--json"))
    found = {each["task"]: each["tokens"] for each in told["tasks"]}
    # A byte is a token; targets end with the end-of-sequence id.
    assert found[tasks[0]] == {"inputs": 4.0, "targets": 4.0}
    assert found[tasks[1]] is None
    assert told["inputs_per_example"] is None
    assert f"1 of {len(tasks)} tasks" in told["token_source"]
    for task in tasks[1:]:
        write_rendered(tmp_path, task, "fourfour", "yes")
    told = json.loads(run(*arguments, "--json"))
    assert told["inputs_per_example"] == pytest.approx(8 - 4 / len(tasks))


def test_a_folder_that_is_not_there_is_told(run, tmp_path):
    missing = str(tmp_path / "nowhere")
    error = run("mixtures", "show", MIXTURE, "--data_dir", missing, status=2)
    assert error.count("\n") == 1 and "no such folder" in error


# --- Tasks -------------------------------------------------------------------------------------


def test_a_task_with_a_defect_says_what_is_wrong_and_where_the_mended_form_is(run, templates):
    name = "race_high_Is_this_the_right_answer"
    told = json.loads(run("tasks", "show", name, "--json"))
    (defect,) = told["defects"]
    assert defect["key"] == "shows_the_true_answer" and defect["source"] == "ps#841"
    assert (defect["mended"], defect["mended_form"]) == (False, f"{name}_mended")
    text = run("tasks", "show", name)
    assert "defect (kept): the prompt asks about the true answer" in text

    mended = json.loads(run("tasks", "show", f"{name}_mended", "--json"))
    assert mended["defects"][0]["mended"] and mended["jinja"] != told["jinja"]
    assert "defect (mended here)" in run("tasks", "show", f"{name}_mended")


def test_a_task_is_shown_whole(run, templates):
    told = json.loads(run("tasks", "show", "super_glue_rte_can_we_infer_score_eval", "--json"))
    assert told["name"] == "super_glue_rte_can_we_infer"
    assert told["score_eval"] == "super_glue_rte_can_we_infer_score_eval"
    assert told["release"] == "promptsource-0.2.3"
    assert (told["config"], told["cluster"]) == ("rte", "NLI")
    assert told["splits"] == {"train": "train", "validation": "validation", "test": "test"}
    assert told["fixed_answer_choices"] == ["Yes", "No"]
    assert (told["truncate"], told["strip"], told["draws"]) == (True, True, False)
    assert told["defects"] == []
    assert told["where"]["repository"]


def test_tasks_of_other_systems_are_shown_too(run):
    name = json.loads(run("tasks", "list", "lexicon_*", "--json"))[0]
    told = json.loads(run("tasks", "show", name, "--json"))
    assert told["name"] == name and told["defects"] == [] and told["jinja"]


def test_the_list_says_which_names_there_are_besides(capsys):
    assert cli.main(["mixtures", "list"]) == 0
    captured = capsys.readouterr()
    assert "t0_train_p{N}[_seed{S}]" in captured.err and "NAME_mended" in captured.err
    listed = captured.out.splitlines()
    assert {"t0_train", "t0_train_p5", "flan_inter_cluster_split_16_10templates_train"} <= set(
        listed
    )
    assert "{" not in captured.out
