"""The cache is SeqIO's own: plain SeqIO reads it and gets what it gets without it."""

import json
import shutil

import numpy as np
import pytest
import seqio
import tensorflow as tf
from seqio import beam_utils

from instrux.data import registration
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.prompts import Template
from pipelines.cache import cache
from pipelines.render import render

LENGTHS = {"inputs": 40, "targets": 8}
NLI = Template(
    name="can we infer",
    jinja="{{premise}} Can we infer that {{hypothesis}}? ||| {{answer_choices[label]}}",
    answer_choices="Yes ||| No",
)
FOREIGN = "cache_test_foreign"


def foreign_dataset(split, shuffle_files, seed=None):
    del split, shuffle_files, seed
    texts = [f"question {n}" for n in range(12)]
    return tf.data.Dataset.from_tensor_slices({"inputs": texts, "targets": texts})


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Two registered tasks, rendered: one with answer choices (and so a twin), one without."""
    data_dir = tmp_path_factory.mktemp("data")
    rows = [
        {"premise": f"premise {n} é" * (1 + n % 5), "hypothesis": f"h {n}", "label": n % 2}
        for n in range(30)
    ]
    files = {}
    for split, count in (("train", 30), ("validation", 7)):
        path = data_dir / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))
        files[split] = str(path)
    source = JsonLinesSource("cachetest", "nli", files)
    splits = {"train": "train", "validation": "validation"}
    vocabulary = VocabularySpec.parse("bytes").to_seqio()
    features = {
        "inputs": seqio.Feature(vocabulary, add_eos=False),
        "targets": seqio.Feature(vocabulary, add_eos=True),
    }
    generate = Template(name="generate", jinja="{{premise}} ||| {{hypothesis}}")
    tasks = [
        PromptedTask("cachetest:infer", source, NLI, splits=splits),
        PromptedTask("cachetest_generate", source, generate, splits=splits),
    ]
    for task in tasks:
        registration.add_prompted_task(task, output_features=features)
    registration.add_mixture("cachetest_both", {task.name: 1.0 for task in tasks})
    seqio.TaskRegistry.add(
        FOREIGN,
        source=seqio.FunctionDataSource(foreign_dataset, splits=["train"]),
        output_features=features,
        preprocessors=[
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos_after_trim,
        ],
    )
    seqio.TaskRegistry.add(
        "cache_test_no_cache",
        source=seqio.FunctionDataSource(foreign_dataset, splits=["train"]),
        output_features=features,
        preprocessors=[seqio.preprocessors.tokenize],
    )
    render(tasks=tasks, data_dir=data_dir, num_shards=3)
    return data_dir


@pytest.fixture(scope="module")
def cached(rendered):
    result = cache(
        tasks=["cachetest:infer", "cachetest:infer_score_eval", "cachetest_generate"],
        data_dir=rendered,
    )
    seqio.add_global_cache_dirs([str(result.folder)])
    return result


@pytest.fixture
def data_dir(rendered, tmp_path):
    shutil.copytree(rendered / "rendered", tmp_path / "data" / "rendered")
    return tmp_path / "data"


def examples(name, split, *, use_cached):
    dataset = seqio.get_mixture_or_task(name).get_dataset(
        LENGTHS, split=split, use_cached=use_cached, shuffle=False
    )
    return [
        {key: np.asarray(value).tolist() for key, value in example.items()}
        for example in dataset.as_numpy_iterator()
    ]


def by_content(found):
    return sorted(found, key=lambda example: repr(sorted(example.items())))


@pytest.mark.parametrize(
    "name", ["cachetest:infer", "cachetest:infer_score_eval", "cachetest_generate"]
)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_seqio_reads_from_the_cache_what_it_makes_without_it(cached, name, split):
    uncached = examples(name, split, use_cached=False)
    assert len(uncached) == {"train": 30, "validation": 7}[split] * (2 if "score" in name else 1)
    assert by_content(examples(name, split, use_cached=True)) == by_content(uncached)
    assert {"inputs", "targets", "inputs_pretokenized", "targets_pretokenized"} <= set(uncached[0])


def test_mixtures_of_cached_tasks_are_read_too(cached):
    drawn = seqio.get_mixture_or_task("cachetest_both").get_dataset(
        LENGTHS, split="train", use_cached=True, shuffle=True, seed=0
    )
    assert sum(1 for _ in drawn.take(40)) == 40


def written_by_seqio(transform, found, path):
    """What a transform of SeqIO's makes of examples, as its job writes it."""
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create(found) | transform | beam_utils.WriteJson(str(path))
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", ["cachetest:infer", "cachetest:infer_score_eval"])
def test_info_and_statistics_are_those_that_seqios_own_transforms_write(cached, name, tmp_path):
    task = seqio.get_mixture_or_task(name)
    before_cache = task.preprocess_precache(task.source.get_dataset("train", shuffle=False))
    found = list(before_cache.as_numpy_iterator())
    folder = cached.folder / seqio.get_task_dir_from_name(name)
    info = json.loads((folder / "info.train.json").read_text())
    stats = json.loads((folder / "stats.train.json").read_text())
    get_info, get_stats = beam_utils.GetInfo(3), beam_utils.GetStats(task.output_features)
    assert info == written_by_seqio(get_info, found, tmp_path / "info.json")
    assert stats == written_by_seqio(get_stats, found, tmp_path / "stats.json")
    assert task.get_cached_stats("train") == stats


def test_the_layout_is_seqios(cached):
    folder = cached.folder / seqio.get_task_dir_from_name("cachetest:infer")
    names = {path.name for path in folder.iterdir()}
    assert {
        "COMPLETED",
        "info.train.json",
        "stats.train.json",
        "train.tfrecord-00000-of-00003",
        "train.tfrecord-00002-of-00003",
        "info.validation.json",
    } <= names
    assert not [name for name in names if name.startswith((".", "report."))]


def test_a_complete_cache_is_skipped_and_a_cut_one_is_made_again(data_dir, capsys):
    first = cache(tasks=["cachetest_generate"], data_dir=data_dir, splits=["train"])
    assert first.cached == (("cachetest_generate", "train"),)
    folder = first.folder / "cachetest_generate"
    before = {path.name: path.read_bytes() for path in folder.glob("*.tfrecord*")}
    capsys.readouterr()
    again = cache(tasks=["cachetest_generate"], data_dir=data_dir, splits=["train"])
    assert again.skipped == first.cached
    assert capsys.readouterr().err == "cache cachetest_generate, train: complete, skipped\n"
    shard = folder / "train.tfrecord-00001-of-00003"
    shard.write_bytes(shard.read_bytes()[:10])
    assert cache(tasks=["cachetest_generate"], data_dir=data_dir, splits=["train"]).cached
    assert {path.name: path.read_bytes() for path in folder.glob("*.tfrecord*")} == before


def test_only_splits_that_are_rendered_are_cached(data_dir):
    folder = data_dir / "rendered" / "cachetest_generate"
    (folder / "manifest.validation.json").unlink()
    result = cache(tasks=["cachetest_generate"], data_dir=data_dir)
    assert result.cached == (("cachetest_generate", "train"),)
    with pytest.raises(InputError, match="instrux render"):
        cache(tasks=["cachetest_generate"], data_dir=data_dir, splits=["validation"])


def test_what_is_not_rendered_is_an_error_unless_it_may_be_left_out(data_dir, capsys):
    shutil.rmtree(data_dir / "rendered" / "cachetest:infer")
    (data_dir / "rendered" / "cachetest_generate" / "manifest.validation.json").unlink()
    with pytest.raises(InputError, match=r"'cachetest:infer' is not rendered.*--leave_out_missing"):
        cache(tasks=["cachetest_both"], data_dir=data_dir)
    assert not (data_dir / "cache").exists()
    result = cache(
        tasks=["cachetest_both"],
        data_dir=data_dir,
        splits=["train", "validation"],
        leave_out_missing=True,
    )
    assert result.cached == (("cachetest_generate", "train"),)
    told = capsys.readouterr().err.splitlines()
    assert "cache: LEFT OUT 1 of 2 tasks (not rendered: cachetest:infer)" in told
    assert (
        "cache: LEFT OUT what is not rendered of other tasks: cachetest_generate, validation"
        in told
    )
    # A split that the tasks do not have is as little rendered as one that nobody rendered.
    with pytest.raises(InputError, match="all 2 tasks"):
        cache(tasks=["cachetest_both"], data_dir=data_dir, splits=["test"], leave_out_missing=True)


@pytest.mark.parametrize(
    ("tasks", "splits", "told"),
    [
        (["cachetest_generat"], None, "Did you mean 'cachetest_generate'"),
        (["cachetest_generate"], ["test"], "it has no split 'test'"),
        (["cache_test_no_cache"], None, "CacheDatasetPlaceholder"),
    ],
)
def test_what_cannot_be_cached_is_told_in_one_line(data_dir, tasks, splits, told):
    with pytest.raises(InputError, match=told) as error:
        cache(tasks=tasks, data_dir=data_dir, splits=splits)
    assert "\n" not in str(error.value)


def test_a_damaged_rendered_file_leaves_nothing_that_looks_complete(data_dir):
    path = data_dir / "rendered" / "cachetest_generate" / "train.tfrecord-00001-of-00003"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.tfrecord-00001"):
        cache(tasks=["cachetest_generate"], data_dir=data_dir, splits=["train"])
    assert not (data_dir / "cache" / "cachetest_generate" / "COMPLETED").exists()


def test_a_task_of_seqios_own_goes_through_seqio(tmp_path):
    result = cache(tasks=[FOREIGN], data_dir=tmp_path)
    seqio.add_global_cache_dirs([str(result.folder)])
    uncached = examples(FOREIGN, "train", use_cached=False)
    assert by_content(examples(FOREIGN, "train", use_cached=True)) == by_content(uncached)
    assert len(uncached) == 12
    assert cache(tasks=[FOREIGN], data_dir=tmp_path).skipped == ((FOREIGN, "train"),)
