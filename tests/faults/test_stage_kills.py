"""Stages killed at random moments, started again, and compared with one that was left alone.

Render, pack and train have modules of their own beside this one.
"""

import json
import random
import shutil

import pytest

from tests.faults.forked import Forks

pytestmark = pytest.mark.slow

KILLS = 3
RANDOM = random.Random(20_111_301)

IMPORTS = """
import jax, seqio
import instrux.data.registration, instrux.models.t5, instrux.training.checkpoints
import launch.evaluate, launch.report, pipelines.cache, pipelines.render, pipelines.vocab
"""

COMMON = """
import os, sys
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.prompts import Template

data_dir, out = sys.argv[1:3]
def tasks():
    source = JsonLinesSource("kills", None, {"train": f"{data_dir}/rows.jsonl"})
    for n in range(5):
        jinja = "question %d: {{text}} ||| {{answer_choices[label]}}" % n
        template = Template(name=f"t{n}", jinja=jinja, answer_choices="even ||| odd")
        yield PromptedTask(f"kills_t{n}", source, template, {"train": "train"})

def link_rendered():
    os.makedirs(out, exist_ok=True)
    if not os.path.exists(f"{out}/rendered"):
        os.symlink(f"{data_dir}/rendered", f"{out}/rendered")
"""

RENDER = """
from pipelines.render import render
render(tasks=list(tasks()), data_dir=data_dir, num_shards=2)
"""

SAVE_RUN = """
import jax
from instrux.models.t5 import T5, T5Config
from instrux.training.checkpoints import save_run
from instrux.training.run_folder import RunDescription
config = T5Config(vocab_size=384, emb_dim=16, num_heads=2, head_dim=8, mlp_dim=16,
                  num_encoder_layers=1, num_decoder_layers=1)
description = RunDescription.of(
    config, VocabularySpec.parse("bytes"), inputs_length=64, targets_length=8)
save_run(out, description, T5(config).init(jax.random.key(0)), step=3)
"""

VOCAB = """
from pipelines.vocab import vocab
link_rendered()
vocab(tasks=("kills_*",), data_dir=out, size=60, name="kills")
"""

CACHE = """
import seqio
from instrux.data import registration
from pipelines.cache import cache
vocabulary = VocabularySpec.parse("bytes").to_seqio()
features = {"inputs": seqio.Feature(vocabulary, add_eos=False),
            "targets": seqio.Feature(vocabulary, add_eos=True)}
for task in tasks():
    registration.add_prompted_task(task, output_features=features, score_eval=False)
link_rendered()
cache(tasks=("kills_*",), data_dir=out)
"""

EVALUATE = """
from launch.evaluate import evaluate
evaluate(model_dir=out, data_dir=data_dir, tasks=("kills_*",), split="train", batch_size=16,
         compile_cache=False)
"""

REPORT = """
from launch.report import RunForReport, report
report(runs=[RunForReport(name="a run", model_dir=out)], out=f"{out}/page")
"""


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    forks = Forks(IMPORTS, tmp_path_factory.mktemp("forks") / "said")
    yield forks
    forks.close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, forks):
    """Five rendered tasks of 400 examples each."""
    folder = tmp_path_factory.mktemp("data")
    words = "the cat sat on a mat while seven grey geese flew over old stone barns".split()
    draw = random.Random(0)
    rows = [{"text": " ".join(draw.choices(words, k=8)), "label": n % 2} for n in range(400)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    forks.finish(COMMON + RENDER, folder, folder)
    return folder


@pytest.fixture(scope="module")
def model_dir(data_dir, forks):
    folder = data_dir / "run"
    forks.finish(COMMON + SAVE_RUN, data_dir, folder)
    return folder


def _files(folder):
    """What a stage made: everything but manifests, which tell times, and links to its input."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("manifest")
    }


def _held(forks, program, data_dir, tmp_path, *, run=None):
    """Kills a stage at random moments, ends it, and compares with one left alone."""
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for folder in (undisturbed, disturbed):
        if run is not None:
            shutil.copytree(run, folder)
    took = forks.finish(COMMON + program, data_dir, undisturbed)
    for _ in range(KILLS):
        forks.kill(COMMON + program, data_dir, disturbed, after=took * RANDOM.random())
    forks.finish(COMMON + program, data_dir, disturbed)
    return _files(undisturbed), _files(disturbed)


def _without_links(files):
    return {name: content for name, content in files.items() if not name.startswith("rendered")}


def test_a_vocabulary(forks, data_dir, tmp_path):
    expected, found = (_without_links(files) for files in _held(forks, VOCAB, data_dir, tmp_path))
    assert any(name.endswith("spiece.model") for name in expected)
    assert found == expected


def test_a_seqio_cache(forks, data_dir, tmp_path):
    expected, found = (_without_links(files) for files in _held(forks, CACHE, data_dir, tmp_path))
    assert len([name for name in expected if name.endswith("COMPLETED")]) == 5
    assert found == expected


def test_an_evaluation(forks, data_dir, model_dir, tmp_path):
    expected, found = _held(forks, EVALUATE, data_dir, tmp_path, run=model_dir)
    predictions = {name for name in expected if name.endswith(".jsonl")}
    assert len(predictions) == 5
    assert set(found) == set(expected)
    assert {name: found[name] for name in predictions} == {
        name: expected[name] for name in predictions
    }
    results = [
        [_without_times(task) for task in json.loads(files["eval/3/results.json"])["tasks"]]
        for files in (expected, found)
    ]
    assert results[0] == results[1]


def _without_times(task):
    return {key: value for key, value in task.items() if key != "seconds"}


def test_a_report(forks, data_dir, model_dir, tmp_path):
    evaluated = tmp_path / "evaluated"
    shutil.copytree(model_dir, evaluated)
    forks.finish(COMMON + EVALUATE, data_dir, evaluated)
    expected, found = _held(forks, REPORT, data_dir, tmp_path, run=evaluated)
    assert "page/report.html" in expected
    assert set(found) == set(expected)
    # The two runs lie in different folders, which the page names.
    pages = [
        files["page/report.html"].replace(str(tmp_path / name).encode(), b"")
        for name, files in (("undisturbed", expected), ("disturbed", found))
    ]
    assert pages[0] == pages[1]
