"""The pack job, from rendered splits on disk to a packed dataset on disk."""

import hashlib
import json
import shutil
from collections import Counter

import numpy as np
import pytest

from instrux.data.packed import PackedDataset, PackSettings
from instrux.data.packed_rows import model_features
from instrux.data.prompted_task import PromptedTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.prompts import Template
from pipelines.pack import pack
from pipelines.render import render

EXAMPLES = {"short": 40, "long": 25, "tiny": 3}
RATES = {"short": 5.0, "long": 3.0, "tiny": 2.0}
TEXTS = {"short": "s", "long": "long text over and over ", "tiny": "t"}


def render_tasks(data_dir, folder, examples=EXAMPLES):
    folder.mkdir(exist_ok=True)
    tasks = []
    for name, count in examples.items():
        path = folder / f"{name}.jsonl"
        rows = [{"text": f"{TEXTS.get(name, name)} {n}", "n": n} for n in range(count)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        source = JsonLinesSource("toy", name, {"train": str(path)})
        template = Template(name="number", jinja="{{text}} ||| {{n}}")
        tasks.append(PromptedTask(name, source, template, splits={"train": "train"}))
    render(tasks=tasks, data_dir=data_dir, num_shards=2)


def settings_for(**changes):
    defaults = {
        "mixture": "toy",
        "inputs_length": 64,
        "targets_length": 16,
        "vocabulary": VocabularySpec.parse("bytes"),
        "num_examples": 100,
        "num_shards": 3,
    }
    return PackSettings(**defaults | changes)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    render_tasks(data_dir, data_dir / "raw")
    return data_dir


@pytest.fixture
def data_dir(rendered, tmp_path):
    """The rendered examples alone, in a folder that a test may change."""
    shutil.copytree(rendered / "rendered", tmp_path / "data" / "rendered")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def packed(rendered):
    return pack(settings_for(), data_dir=rendered, rates=RATES)


def examples_in(folder):
    """(task, inputs, targets) of every segment, as text."""
    dataset = PackedDataset(folder)
    vocabulary = VocabularySpec.parse("bytes").load()
    names = [task.name for task in dataset.manifest.tasks]
    features = model_features(dataset.rows(np.arange(len(dataset))), task_ids=True)
    for row in range(len(dataset)):
        of_row = {name: value[row] for name, value in features.items()}
        for segment in range(1, of_row["decoder_segment_ids"].max() + 1):
            decoder = of_row["decoder_segment_ids"] == segment
            inputs = of_row["encoder_input_tokens"][of_row["encoder_segment_ids"] == segment]
            targets = of_row["decoder_target_tokens"][decoder]
            assert targets[-1] == vocabulary.eos_id
            yield (
                names[of_row["decoder_task_ids"][decoder][0]],
                vocabulary.decode(inputs),
                vocabulary.decode(targets),
            )


def digests(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def test_every_task_has_its_rate_and_its_examples_as_often_as_each_other(packed, rendered):
    drawn = Counter(examples_in(packed.folder))
    assert sum(drawn.values()) == 100
    for task, expected in {"short": 50, "long": 30, "tiny": 20}.items():
        of_task = {key: count for key, count in drawn.items() if key[0] == task}
        assert sum(of_task.values()) == expected
        # Every example is there floor or ceiling times, with its whole text.
        everything = {
            (task, example.inputs, example.targets)
            for example in RenderedSplit(rendered, task, "train").read()
        }
        assert set(of_task) == everything
        assert set(of_task.values()) <= {
            expected // EXAMPLES[task],
            -(-expected // EXAMPLES[task]),
        }


def test_the_manifest_tells_what_was_asked_for_and_obtained(packed):
    manifest = packed.manifest
    by_name = {task.name: task for task in manifest.tasks}
    assert {name: task.rate for name, task in by_name.items()} == RATES
    assert {name: task.share for name, task in by_name.items()} == {
        "short": 0.5,
        "long": 0.3,
        "tiny": 0.2,
    }
    assert by_name["tiny"].epochs == pytest.approx(20 / 3)
    tokens = Counter()
    for task, inputs, targets in examples_in(packed.folder):
        tokens[task, "inputs"] += len(inputs.encode())
        tokens[task, "targets"] += len(targets.encode()) + 1
    for name, task in by_name.items():
        assert task.inputs_tokens == tokens[name, "inputs"]
        assert task.targets_tokens == tokens[name, "targets"]
    assert manifest.examples == 100
    assert manifest.rows == len(PackedDataset(packed.folder))
    inputs_tokens = sum(count for (_, side), count in tokens.items() if side == "inputs")
    assert manifest.inputs_efficiency == pytest.approx(inputs_tokens / (64 * manifest.rows))
    assert manifest.rows_lower_bound <= manifest.rows
    assert manifest.settings["vocabulary"]["digest"] == VocabularySpec.parse("bytes").digest()


def test_examples_of_all_tasks_are_mixed_over_shards_and_rows(packed):
    dataset = PackedDataset(packed.folder)
    assert len(dataset.manifest.shards) == 3
    first = 0
    for shard in dataset.manifest.shards:
        rows = dataset.rows(np.arange(first, first + shard.rows))
        first += shard.rows
        tasks = model_features(rows, task_ids=True)["decoder_task_ids"]
        assert {0, 1, 2} <= set(tasks.flatten().tolist())


def test_what_is_longer_than_a_row_is_cut_and_counted(rendered):
    result = pack(
        settings_for(inputs_length=20, targets_length=2, mixture="cut"),
        data_dir=rendered,
        rates={"long": 1.0},
    )
    (task,) = result.manifest.tasks
    assert task.inputs_truncated == 100
    # Targets 10 to 24 have two digits and the end of sequence: four times 25, 15 of them cut.
    assert task.targets_truncated == 60
    inputs = {inputs for _, inputs, _ in examples_in(result.folder)}
    assert inputs == {"long text over and ov"[:20]}


def test_inputs_end_with_the_end_of_sequence_where_asked(rendered):
    result = pack(
        settings_for(mixture="eos", inputs_eos=True, num_examples=3, num_shards=1),
        data_dir=rendered,
        rates={"tiny": 1.0},
    )
    batch = next(PackedDataset(result.folder).batches(1, seed=0))
    segments = batch["encoder_segment_ids"][0]
    tokens = batch["encoder_input_tokens"][0]
    for segment in range(1, segments.max() + 1):
        assert tokens[segments == segment][-1] == 1


def test_a_complete_dataset_is_skipped(packed, rendered, capsys):
    before = digests(packed.folder)
    again = pack(settings_for(), data_dir=rendered, rates=RATES)
    assert again.skipped
    assert capsys.readouterr().err == "pack toy: complete, skipped\n"
    assert digests(packed.folder) == before
    assert again.manifest == packed.manifest


def test_the_same_settings_and_inputs_give_the_same_bytes(packed, data_dir):
    again = pack(settings_for(), data_dir=data_dir, rates=RATES)
    assert not again.skipped
    assert digests(again.folder) == digests(packed.folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "beam_args", [["--direct_num_workers=2"], ["--runner=DaskRunner"]], ids=["processes", "dask"]
)
def test_every_runner_gives_the_same_bytes(packed, data_dir, beam_args):
    again = pack(settings_for(), data_dir=data_dir, rates=RATES, beam_args=beam_args)
    assert digests(again.folder) == digests(packed.folder)


def test_several_passes_over_the_text_give_the_same_bytes(packed, data_dir, monkeypatch):
    import pipelines.pack

    # As if memory held a third of the text.
    text = sum(path.stat().st_size for path in (data_dir / "rendered").glob("*/train.tfrecord-*"))
    monkeypatch.setattr(pipelines.pack, "_TEXT_IN_MEMORY", text // 3)
    again = pack(settings_for(), data_dir=data_dir, rates=RATES)
    assert digests(again.folder) == digests(packed.folder)


def test_the_seed_changes_what_is_repeated_and_the_order(packed, rendered):
    other = pack(settings_for(seed=1), data_dir=rendered, rates=RATES)
    assert other.folder != packed.folder
    drawn, drawn_otherwise = (Counter(examples_in(each.folder)) for each in (packed, other))
    assert drawn != drawn_otherwise
    assert set(drawn) == set(drawn_otherwise)


def test_another_rate_packs_again_and_says_so(data_dir, capsys):
    first = pack(settings_for(), data_dir=data_dir, rates=RATES)
    capsys.readouterr()
    again = pack(settings_for(), data_dir=data_dir, rates=RATES | {"tiny": 4.0})
    assert not again.skipped
    assert again.folder == first.folder
    assert "tasks or rates changed" in capsys.readouterr().err.splitlines()[0]
    assert PackedDataset(again.folder).manifest.tasks[2].rate == 4.0


def test_examples_rendered_anew_are_packed_again(data_dir, capsys):
    pack(settings_for(), data_dir=data_dir, rates=RATES)
    shutil.rmtree(data_dir / "rendered" / "tiny")
    render_tasks(data_dir, data_dir / "raw", {"tiny": 4})
    capsys.readouterr()
    again = pack(settings_for(), data_dir=data_dir, rates=RATES)
    assert not again.skipped
    assert "the rendered examples changed" in capsys.readouterr().err.splitlines()[0]
    assert again.manifest.tasks[2].available == 4


def test_a_task_of_a_tiny_rate_may_get_no_example(rendered):
    result = pack(
        settings_for(mixture="uneven", num_examples=10, num_shards=1),
        data_dir=rendered,
        rates={"short": 1000.0, "tiny": 1.0},
    )
    assert [task.examples for task in result.manifest.tasks] == [10, 0]


def test_a_mixture_may_have_fewer_examples_than_shards_need(rendered):
    result = pack(
        settings_for(mixture="few", num_examples=3, num_shards=3),
        data_dir=rendered,
        rates={"tiny": 1.0},
    )
    dataset = PackedDataset(result.folder)
    assert {inputs for _, inputs, _ in examples_in(result.folder)} == {"t 0", "t 1", "t 2"}
    assert next(dataset.batches(2, seed=0))["encoder_input_tokens"].shape == (2, 64)


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ({"short": 1.0, "shrot": 1.0}, "'shrot' is not rendered"),
        ({"short": 1.0, "tiny": 0.0}, "task tiny: its rate is 0.0"),
        ({"short": 1.0, "tiny": float("nan")}, "task tiny: its rate is nan"),
        ({}, "no task"),
    ],
)
def test_a_mixture_that_cannot_be_packed_is_told_in_one_line(rendered, rates, told):
    with pytest.raises(InputError, match=told) as error:
        pack(settings_for(), data_dir=rendered, rates=rates)
    assert "\n" not in str(error.value)


def test_a_split_that_is_not_rendered_is_told_with_the_command_that_renders_it(rendered):
    with pytest.raises(InputError, match="instrux render"):
        pack(settings_for(split="validation"), data_dir=rendered, rates=RATES)


def test_an_empty_task_is_told(data_dir):
    path = data_dir / "none.jsonl"
    path.write_text('{"text": "a"}\n')
    nothing = PromptedTask(
        "nothing",
        JsonLinesSource("toy", "none", {"train": str(path)}),
        Template(name="never", jinja="{% if text == 'b' %}{{text}} ||| b{% endif %}"),
        splits={"train": "train"},
    )
    render(tasks=[nothing], data_dir=data_dir)
    with pytest.raises(InputError, match="task nothing has no example"):
        pack(settings_for(), data_dir=data_dir, rates={"tiny": 1.0, "nothing": 1.0})


def test_a_missing_vocabulary_is_told(rendered, tmp_path):
    settings = settings_for(vocabulary=VocabularySpec.parse(str(tmp_path / "none.model")))
    with pytest.raises(InputError, match=r"none\.model"):
        pack(settings, data_dir=rendered, rates=RATES)


def test_real_text_keeps_its_ids(rendered, shared_data):
    spec = VocabularySpec.parse(str(shared_data / "vocab" / "t5_32000.model"))
    result = pack(
        settings_for(mixture="t5", vocabulary=spec, num_examples=25, num_shards=1),
        data_dir=rendered,
        rates={"long": 1.0},
    )
    dataset = PackedDataset(result.folder)
    dataset.check_vocabulary(spec)
    vocabulary = spec.load()
    expected = sorted(vocabulary.encode(f"{TEXTS['long']} {n}") for n in range(25))
    features = model_features(dataset.rows(np.arange(len(dataset))))
    tokens, segments = features["encoder_input_tokens"], features["encoder_segment_ids"]
    found = [
        tokens[row][segments[row] == segment].tolist()
        for row in range(len(dataset))
        for segment in range(1, segments[row].max() + 1)
    ]
    assert sorted(found) == expected


# --- Leaving tasks out ---------------------------------------------------------------------------


def test_a_task_that_is_not_rendered_is_an_error_unless_it_may_be_left_out(data_dir, capsys):
    rates = {**RATES, "absent": 10.0}
    with pytest.raises(InputError, match=r"'absent' is not rendered.*--leave_out_missing"):
        pack(settings_for(), data_dir=data_dir, rates=rates)
    result = pack(settings_for(leave_out_missing=True), data_dir=data_dir, rates=rates)
    assert "LEFT OUT 1 of 4 tasks, 50.0% of the mixture (not rendered: absent)" in (
        capsys.readouterr().err
    )
    (lost,) = result.manifest.left_out
    assert (lost.name, lost.rate, lost.share) == ("absent", 10.0, 0.5)
    assert {task.name: task.share_asked for task in result.manifest.tasks} == {
        "short": 0.5,
        "long": 0.3,
        "tiny": 0.2,
    }
    # Once it is rendered, what was packed without it is stale.
    render_tasks(data_dir, data_dir / "raw", {**EXAMPLES, "absent": 4})
    again = pack(settings_for(leave_out_missing=True), data_dir=data_dir, rates=rates)
    assert not again.skipped and not again.manifest.left_out
    assert again.folder == result.folder


def test_tasks_and_datasets_can_be_left_out_by_name(data_dir, packed):
    datasets = {"short": "toy/short", "long": "toy/long", "tiny": "toy/tiny"}
    settings = settings_for(leave_out=("toy/long",))
    result = pack(settings, data_dir=data_dir, rates=RATES, datasets=datasets)
    assert [task.name for task in result.manifest.tasks] == ["short", "tiny"]
    assert [task.reason for task in result.manifest.left_out] == ["leave_out toy/long"]
    assert result.folder.name != packed.folder.name
    assert pack(settings, data_dir=data_dir, rates=RATES, datasets=datasets).skipped
    assert {task for task, _, _ in examples_in(result.folder)} == {"short", "tiny"}


def excluding(data_dir, tmp_path, rows, **changes):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return pack(settings_for(exclude=(str(path),), **changes), data_dir=data_dir, rates=RATES)


def test_rows_that_a_list_names_are_not_packed_and_are_counted(data_dir, packed, tmp_path, capsys):
    rows = [{"task": "short", "example_id": f"toy/short/train/{n}"} for n in (0, 7, 39)]
    rows += [{"task": "tiny", "example_id": "toy/tiny/train/1", "why": "told to"}]
    rows += [{"task": "long", "example_id": "toy/long/train/999"}]  # there is none
    result = excluding(data_dir, tmp_path, rows)
    assert "EXCLUDED 4 examples of 2 of 3 tasks" in capsys.readouterr().err
    by_name = {task.name: task for task in result.manifest.tasks}
    assert {n: (t.available, t.excluded) for n, t in by_name.items()} == {
        "short": (37, 3),
        "long": (25, 0),
        "tiny": (2, 1),
    }
    drawn = Counter(examples_in(result.folder))
    numbers = {task: {int(t) for name, _, t in drawn if name == task} for task in RATES}
    assert numbers["short"] == set(range(40)) - {0, 7, 39}
    assert numbers["tiny"] == {0, 2}
    assert numbers["long"] == set(range(25))
    # As often as each other, as if the others had never been there.
    assert {count for (name, *_), count in drawn.items() if name == "tiny"} == {10}
    assert result.folder != packed.folder


def test_a_list_counts_by_its_rows_not_by_its_name_or_order(data_dir, tmp_path):
    rows = [{"task": "short", "example_id": f"toy/short/train/{n}"} for n in range(3)]
    first = excluding(data_dir, tmp_path, rows)
    (tmp_path / "other").mkdir()
    assert excluding(data_dir, tmp_path / "other", [rows[2], *rows[:2], rows[0]]).skipped
    assert excluding(data_dir, tmp_path / "other", rows[:2]).folder != first.folder


def test_a_list_without_a_task_holds_for_all_of_them(data_dir, tmp_path):
    rows = [{"example_id": "toy/tiny/train/1"}, {"example_id": "toy/long/train/1"}]
    tasks = excluding(data_dir, tmp_path, rows).manifest.tasks
    assert {task.name: task.excluded for task in tasks} == {"short": 0, "long": 1, "tiny": 1}


def test_a_list_that_cannot_be_used_is_told(data_dir, tmp_path):
    with pytest.raises(InputError, match=r"rows.jsonl, line 1: not a row"):
        excluding(data_dir, tmp_path, [{"task": "short"}])
    with pytest.raises(InputError, match=r"absent.jsonl: No such file"):
        settings_for(exclude=(str(tmp_path / "absent.jsonl"),)).folder(data_dir)


def test_a_task_that_lists_empty_stops_the_pack_unless_it_may_be_left_out(
    data_dir, tmp_path, capsys
):
    everything = [{"task": "tiny", "example_id": f"toy/tiny/train/{n}"} for n in range(3)]
    with pytest.raises(
        InputError, match=r"all 3 examples of task tiny are excluded.*--leave_out_emptied"
    ):
        excluding(data_dir, tmp_path, everything)
    result = excluding(data_dir, tmp_path, everything, leave_out_emptied=True)
    assert "LEFT OUT 1 of 3 tasks, 20.0% of the mixture (all 3 examples excluded: tiny)" in (
        capsys.readouterr().err
    )
    assert [(t.name, t.reason) for t in result.manifest.left_out] == [
        ("tiny", "all 3 examples excluded")
    ]
    assert [task.name for task in result.manifest.tasks] == ["short", "long"]
    assert excluding(data_dir, tmp_path, everything, leave_out_emptied=True).skipped
