"""The render job, from rows on disk to rendered splits on disk."""

import dataclasses
import json

import pytest

from instrux.beam.spill import SpillFile
from instrux.data.examples import RenderedExample
from instrux.data.prompted_task import PromptedTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources import HuggingFaceSource, JsonLinesSource
from instrux.errors import InputError
from instrux.prompts import Template
from pipelines.render import render

LABELS = "Yes ||| No"
CAN_WE_INFER = Template(
    name="can we infer",
    jinja="{{premise}}\nCan we infer that {{hypothesis}}? ||| {{answer_choices[label]}}",
    answer_choices=LABELS,
)
ONLY_YES = Template(
    name="only yes",
    jinja="{% if label == 0 %}Say what follows from: {{premise}} ||| {{hypothesis}}{% endif %}",
)
DRAWS = Template(
    name="draws",
    jinja="{{ ['Given', 'Take', 'Read'] | choice }} {{premise}} ||| {{hypothesis}}",
)


def rows(count):
    return [
        {"premise": f"premise {n} é", "hypothesis": f"hypothesis {n}", "label": n % 2}
        for n in range(count)
    ]


@pytest.fixture
def source(tmp_path):
    def write(name, lines):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in lines))
        return str(path)

    files = {"train": write("train.jsonl", rows(40)), "dev": write("dev.jsonl", rows(6))}
    return JsonLinesSource("toy", "nli", files)


def task(source, template, **settings):
    name = f"toy_nli_{template.name.replace(' ', '_')}"
    splits = {"train": "train", "validation": "dev"}
    return PromptedTask(
        **{"name": name, "source": source, "template": template, "splits": splits} | settings
    )


def tasks_of(source):
    return [task(source, template) for template in (CAN_WE_INFER, ONLY_YES, DRAWS)]


def content(data_dir):
    """All files but what tells the time, by their path."""
    files = {}
    for path in sorted(data_dir.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name.startswith("manifest."):
                manifest = json.loads(data)
                data = json.dumps({key: manifest[key] for key in ("settings", "files", "counts")})
            files[str(path.relative_to(data_dir))] = data
    return files


# --- What comes out ------------------------------------------------------------------------------


def test_every_row_goes_through_every_template_of_its_dataset(source, tmp_path):
    result = render(tasks=tasks_of(source), data_dir=tmp_path / "data")
    assert (result.examples, result.rows, result.failed) == (46 + 23 + 46, 3 * 46, 0)
    infer = RenderedSplit(tmp_path / "data", "toy_nli_can_we_infer", "validation")
    assert list(infer.read()) == [
        RenderedExample(
            inputs=f"premise {n} é\nCan we infer that hypothesis {n}?",
            targets=["Yes", "No"][n % 2],
            example_id=f"toy/nli/dev/{n}",
            template="can we infer",
            answer_choices=("Yes", "No"),
        )
        for n in range(6)
    ]


def test_the_manifest_says_what_made_the_split(source, tmp_path):
    cluster = task(source, ONLY_YES, cluster="nli", metrics=("bleu",), train_examples=40)
    render(tasks=[cluster], data_dir=tmp_path / "data", num_shards=2)
    known = RenderedSplit(tmp_path / "data", cluster.name, "train").manifest()
    assert (known.rows, known.examples, known.dropped) == (40, 20, {"not_applicable": 20})
    assert (known.dataset, known.config, known.template) == ("toy", "nli", "only yes")
    assert (known.cluster, known.metrics, known.train_examples) == ("nli", ("bleu",), 40)
    assert known.answer_choices is None
    manifest = known.manifest
    assert manifest.settings["fingerprint"] == source.fingerprint("train")
    assert manifest.settings["template"]["jinja"] == ONLY_YES.jinja
    assert manifest.arguments["num_shards"] == 2
    assert {"python", "instrux", "apache-beam"} <= set(manifest.versions)
    assert sum(file.records for file in manifest.files) == 20


def test_shards_share_the_rows_and_each_is_in_order(source, tmp_path):
    render(tasks=[task(source, CAN_WE_INFER)], data_dir=tmp_path / "data", num_shards=3)
    split = RenderedSplit(tmp_path / "data", "toy_nli_can_we_infer", "train")
    assert [path.name for path in split.shard_paths()] == [
        f"train.tfrecord-0000{n}-of-00003" for n in range(3)
    ]
    by_shard = [file.records for file in split.manifest().manifest.files]
    assert sum(by_shard) == 40 and min(by_shard) > 4
    numbers = [int(example.example_id.rpartition("/")[2]) for example in split.read()]
    assert sorted(numbers) == list(range(40))
    start = 0
    for count in by_shard:
        assert numbers[start : start + count] == sorted(numbers[start : start + count])
        start += count


def test_more_shards_than_examples_leaves_empty_files(source, tmp_path):
    render(
        tasks=[task(source, ONLY_YES)],
        data_dir=tmp_path / "data",
        splits=["validation"],
        num_shards=20,
    )
    split = RenderedSplit(tmp_path / "data", "toy_nli_only_yes", "validation")
    assert len(split.shard_paths()) == 20 and len(list(split.read())) == 3


def test_rows_are_read_once_for_all_templates(source, tmp_path, monkeypatch):
    from instrux.data import sources_files

    read, original = [], sources_files._read_jsonl
    monkeypatch.setattr(
        sources_files, "_read_jsonl", lambda shard, bad: read.append(shard) or original(shard, bad)
    )
    render(tasks=tasks_of(source), data_dir=tmp_path / "data")
    assert sorted(shard.split for shard in read) == ["dev", "train"]


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(source, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        render(tasks=[task(source, DRAWS)], data_dir=tmp_path / name, seed=seed)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    record = "rendered/toy_nli_draws/train.tfrecord-00000-of-00001"
    assert content(tmp_path / "a")[record] != content(tmp_path / "c")[record]


def test_large_datasets_are_rendered_some_templates_at_a_time(source, tmp_path, monkeypatch):
    render(tasks=tasks_of(source), data_dir=tmp_path / "at_once")
    monkeypatch.setattr("pipelines.render._BYTES_A_PLAN", 1)
    render(tasks=tasks_of(source), data_dir=tmp_path / "in_turn")
    assert content(tmp_path / "at_once") == content(tmp_path / "in_turn")


def test_what_waits_on_disk_makes_the_same_bytes(source, tmp_path, monkeypatch):
    render(tasks=tasks_of(source), data_dir=tmp_path / "in_memory", num_shards=3)
    monkeypatch.setattr("pipelines.run_plans._BYTES_IN_MEMORY", 0)
    monkeypatch.setattr("instrux.beam.blobs.BlobBuffers.is_full", True)  # a blob for every row
    spilled = []
    put = SpillFile.put
    monkeypatch.setattr(
        SpillFile, "put", lambda file, blob: spilled.append(blob) or put(file, blob)
    )
    render(tasks=tasks_of(source), data_dir=tmp_path / "on_disk", num_shards=3)
    assert len(spilled) == 2 * 46 + 23  # of the third template half the rows are left out
    assert content(tmp_path / "in_memory") == content(tmp_path / "on_disk")


@pytest.mark.slow
@pytest.mark.parametrize(
    "beam_args", [["--runner=DaskRunner"], ["--direct_num_workers=2"], ["--runner=DirectRunner"]]
)
def test_every_runner_writes_the_same_bytes(source, tmp_path, beam_args, monkeypatch, capfd):
    if "Dask" in beam_args[0]:
        pytest.importorskip("distributed")
    monkeypatch.setattr("instrux.data.sources_files._BYTES_PER_SHARD", 500)
    render(tasks=tasks_of(source), data_dir=tmp_path / "here", num_shards=3)
    capfd.readouterr()
    monkeypatch.setattr("pipelines.run_plans._BYTES_IN_MEMORY", 0)  # processes share a folder
    render(tasks=tasks_of(source), data_dir=tmp_path / "there", num_shards=3, beam_args=beam_args)
    assert content(tmp_path / "here") == content(tmp_path / "there")
    said = capfd.readouterr()
    assert said.out == ""
    if "Dask" not in beam_args[0]:  # its workers warn of Google Cloud clients that Beam misses
        assert all(line.startswith("render: ") for line in said.err.splitlines())


def test_real_rows_render_as_they_stand(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUX_MIRROR", str(shared_data / "p3"))
    rte = task(HuggingFaceSource("super_glue", "rte"), CAN_WE_INFER, splits={"train": "train"})
    result = render(tasks=[rte], data_dir=tmp_path)
    assert result.examples == 1200
    first = next(RenderedSplit(tmp_path, rte.name, "train").read())
    assert first.example_id == "super_glue/rte/train/0"
    assert (first.inputs, first.targets) == (
        "No Weapons of Mass Destruction Found in Iraq Yet.\n"
        "Can we infer that Weapons of Mass Destruction Found in Iraq.?",
        "No",
    )


# --- Running again -------------------------------------------------------------------------------


def test_what_is_complete_is_skipped_with_a_line(source, tmp_path, capsys):
    tasks = tasks_of(source)[:2]
    render(tasks=tasks[:1], data_dir=tmp_path / "data", splits=["train"])
    record = tmp_path / "data/rendered/toy_nli_can_we_infer/train.tfrecord-00000-of-00001"
    written = record.stat().st_mtime_ns
    capsys.readouterr()
    result = render(tasks=tasks, data_dir=tmp_path / "data")
    assert result.skipped == (("toy_nli_can_we_infer", "train"),)
    assert len(result.rendered) == 3
    assert record.stat().st_mtime_ns == written
    assert "render toy_nli_can_we_infer, train: complete, skipped" in capsys.readouterr().err
    assert len(render(tasks=tasks, data_dir=tmp_path / "data").skipped) == 4


@pytest.mark.parametrize("change", ["template", "seed", "truncate", "num_shards", "rows", "damage"])
def test_a_change_of_what_makes_the_bytes_renders_again(source, tmp_path, change):
    asked = task(source, CAN_WE_INFER, splits={"train": "train"})
    render(tasks=[asked], data_dir=tmp_path / "data")
    arguments = {}
    if change == "template":
        other = dataclasses.replace(CAN_WE_INFER, jinja="{{premise}} ||| {{hypothesis}}")
        asked = dataclasses.replace(asked, template=other)
    elif change in ("seed", "truncate"):
        asked = dataclasses.replace(asked, **{change: {"seed": 1, "truncate": False}[change]})
    elif change == "num_shards":
        arguments["num_shards"] = 2
    elif change == "rows":
        with open(source.files["train"], "a") as file:
            file.write(json.dumps(rows(1)[0]) + "\n")
    else:
        folder = tmp_path / "data/rendered/toy_nli_can_we_infer"
        (folder / "train.tfrecord-00000-of-00001").write_bytes(b"cut")
    result = render(tasks=[asked], data_dir=tmp_path / "data", **arguments)
    assert result.rendered == ((asked.name, "train"),)
    split = RenderedSplit(tmp_path / "data", asked.name, "train")
    assert len(list(split.read())) == 40 + (change == "rows")
    names = [path.name for path in split.folder.glob("train.tfrecord-*")]
    assert len(names) == (2 if change == "num_shards" else 1)


def test_a_change_of_tables_only_brings_the_manifest_up_to_date(source, tmp_path):
    asked = task(source, CAN_WE_INFER)
    render(tasks=[asked], data_dir=tmp_path)
    result = render(tasks=[dataclasses.replace(asked, cluster="nli")], data_dir=tmp_path)
    assert result.rendered == ()
    assert RenderedSplit(tmp_path, asked.name, "train").manifest().cluster == "nli"


# --- What is wrong is told in one line -----------------------------------------------------------


def one_line(caught):
    message = str(caught.value)
    assert "\n" not in message and "[while running" not in message
    return message


def test_a_failing_row_goes_to_the_dead_letters(source, tmp_path):
    fails_once = Template(
        name="fails once",
        jinja="{% if premise == 'premise 7 é' %}{{ label + 'x' }}{% endif %}{{premise}} ||| x",
    )
    asked = task(source, fails_once, splits={"train": "train"})
    result = render(tasks=[asked], data_dir=tmp_path, max_bad_share=0.05)
    assert (result.examples, result.failed) == (39, 1)
    split = RenderedSplit(tmp_path, asked.name, "train")
    assert split.manifest().dropped == {"render_error": 1}
    (line,) = (split.folder / "dead_letters.train.jsonl").read_text().splitlines()
    letter = json.loads(line)
    assert (letter["example_id"], letter["template"], letter["reason"]) == (
        "toy/nli/train/7",
        "fails once",
        "render_error",
    )
    assert "TypeError" in letter["detail"]


def test_too_many_failing_rows_fail_the_job_and_leave_the_other_tasks(source, tmp_path):
    fails = Template(name="fails", jinja="{% set share = 1 // label %}{{share}} ||| {{premise}}")
    tasks = [task(source, fails), task(source, CAN_WE_INFER)]
    with pytest.raises(InputError) as caught:
        render(tasks=tasks, data_dir=tmp_path)
    message = one_line(caught)
    assert "'toy_nli_fails', split 'train': 20 of 40 rows (50.0%)" in message
    assert "more than the 1.0% allowed" in message and "ZeroDivisionError" in message
    assert str(tmp_path / "rendered/toy_nli_fails/dead_letters.train.jsonl") in message
    assert not RenderedSplit(tmp_path, "toy_nli_fails", "train").exists()
    assert RenderedSplit(tmp_path, "toy_nli_can_we_infer", "train").exists()
    with open(tmp_path / "rendered/toy_nli_fails/dead_letters.train.jsonl") as letters:
        assert len(letters.readlines()) == 20


def test_a_row_that_is_no_json_is_a_dead_letter_of_every_task(source, tmp_path):
    with open(source.files["train"], "a") as file:
        file.write('{"premise": \n')
    tasks = [task(source, template, splits={"train": "train"}) for template in (ONLY_YES, DRAWS)]
    with pytest.raises(InputError, match=r"train\.jsonl, line 41: not valid JSON"):
        render(tasks=tasks, data_dir=tmp_path / "strict")
    result = render(tasks=tasks, data_dir=tmp_path / "lenient", max_bad_share=0.1)
    assert result.failed == 2


def test_a_field_that_some_rows_lack_is_counted_and_told(source, tmp_path, capsys):
    with open(source.files["train"], "a") as file:
        file.write(json.dumps({"premise": "alone", "label": 0}) + "\n")
    asked = task(source, CAN_WE_INFER, splits={"train": "train"})
    assert render(tasks=[asked], data_dir=tmp_path).examples == 41
    told = capsys.readouterr().err
    assert "1 of 41 rows have no field 'hypothesis' (missing_field)" in told


def test_a_field_that_no_row_has_fails(source, tmp_path):
    wrong = Template(name="wrong", jinja="{{premisse}} and {{hypothesis}} ||| {{label}}")
    with pytest.raises(InputError) as caught:
        render(tasks=[task(source, wrong)], data_dir=tmp_path)
    message = one_line(caught)
    assert "template 'wrong' names the field 'premisse', which no row has" in message
    assert "toy/nli have ['premise', 'hypothesis', 'label']" in message
    result = render(tasks=[task(source, wrong)], data_dir=tmp_path, allow_missing_fields=True)
    assert result.examples == 46
    assert not list(tmp_path.rglob("failed.*"))


def test_a_field_asked_for_with_is_defined_may_be_absent(source, tmp_path):
    polite = Template(
        name="polite", jinja="{% if note is defined %}{{note}}{% endif %}{{premise}} ||| x"
    )
    assert render(tasks=[task(source, polite)], data_dir=tmp_path).examples == 46


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_split_without_rows_is_told(source, tmp_path, text):
    with open(source.files["dev"], "w") as file:
        file.write(text)
    with pytest.raises(InputError, match=r"'dev' of dataset 'toy/nli' has no rows.*dev\.jsonl"):
        render(tasks=[task(source, CAN_WE_INFER)], data_dir=tmp_path / "data")
    assert not list(tmp_path.rglob("manifest.validation.json"))


def test_a_template_that_suits_no_row_is_told(source, tmp_path, capsys):
    never = Template(name="never", jinja="{% if label > 1 %}a ||| b{% endif %}")
    assert render(tasks=[task(source, never)], data_dir=tmp_path).examples == 0
    told = capsys.readouterr().err
    assert "render toy_nli_never, train: no example; 40 not_applicable" in told
    assert list(RenderedSplit(tmp_path, "toy_nli_never", "train").read()) == []


def test_a_wrong_split_task_or_option_is_told_before_anything_is_done(source, tmp_path):
    asked = [task(source, CAN_WE_INFER)]
    for expected, arguments in {
        r"No task has a split 'tran'.*Did you mean 'train'": {"splits": ["tran"]},
        r"No task to render": {"tasks": []},
        r"'toy_nli_can_we_infer' is named twice": {"tasks": asked * 2},
        r"max_bad_share is 1\.5": {"max_bad_share": 1.5},
        r"num_shards is 0": {"num_shards": 0},
        r"no option '--direct_num_worker'.*direct_num_workers": {
            "beam_args": ["--direct_num_worker=2"]
        },
        r"cannot make the runner 'NoRunner'": {"beam_args": ["--runner=NoRunner"]},
        r"--direct_num_workers: invalid int value": {"beam_args": ["--direct_num_workers=two"]},
    }.items():
        with pytest.raises(InputError, match=expected) as caught:
            render(**({"tasks": asked, "data_dir": tmp_path / "data"} | arguments))
        one_line(caught)
    assert not (tmp_path / "data").exists()


def test_a_split_that_some_tasks_lack_is_rendered_where_it_is(source, tmp_path):
    tasks = [task(source, CAN_WE_INFER), task(source, DRAWS, splits={"train": "train"})]
    result = render(tasks=tasks, data_dir=tmp_path, splits=["validation"])
    assert result.rendered == (("toy_nli_can_we_infer", "validation"),)
