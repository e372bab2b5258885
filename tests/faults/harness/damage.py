"""Damaged files: each format is written once, damaged in a copy, and read by what reads it."""

import atexit
import functools
import gzip
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np

from instrux.data import registration
from instrux.data.artefact_checks import problems_of
from instrux.data.artefact_search import find_artefacts
from instrux.data.online import SeqioSource
from instrux.data.packed import PackedDataset, PackSettings
from instrux.data.prompted_task import PromptedTask
from instrux.data.rendered import RenderedSplit
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.interop.parameters import Weights, parameters
from instrux.interop.safetensors_files import SafetensorsWriter, stored_tensors
from instrux.interop.t5x import T5XCheckpoint, write_checkpoint
from instrux.models.t5 import T5, T5Config
from instrux.prompts import Template
from instrux.prompts.natural_instructions_task import load_task
from instrux.prompts.template_files import read_templates
from instrux.training.checkpoints import Checkpoints, load_run, save_run
from instrux.training.optimizers import AdamW
from instrux.training.position import Position
from instrux.training.run_folder import RunDescription
from instrux.training.schedules import constant
from instrux.training.train_step import fresh_state
from launch import gin_config
from pipelines.pack import pack
from pipelines.render import render
from tests.faults.harness.trials import Kind, Outcome, WrongError, damaged, quiet

TINY = T5Config(
    vocab_size=384,
    emb_dim=4,
    num_heads=2,
    head_dim=2,
    mlp_dim=4,
    num_encoder_layers=1,
    num_decoder_layers=1,
)
BYTES = VocabularySpec.parse("bytes")
TASK = "harness_numbers"
NATURAL = "task001_colour"


@dataclass(frozen=True)
class Format:
    """A format that we read.

    Attributes:
        name: what it is called in the table.
        make: writes it into an empty folder.
        files: glob over the files that are damaged.
        read: reads all of it, as its users do, into something that `same` compares.
        checksum: whether the format lets a reader notice any change.
    """

    name: str
    make: Callable[[Path], object]
    files: str
    read: Callable[[Path], Any]
    checksum: bool = True

    def attempt(self, draw: random.Random, folder: Path) -> Outcome:
        """Damages one file of a copy, and reads it."""
        sound, expected = _sound(self)
        copy = folder / "copy"
        shutil.copytree(sound, copy, symlinks=True)
        path = draw.choice(
            [p for p in sorted(copy.glob(self.files)) if p.is_file() and p.stat().st_size]
        )
        path.write_bytes(damaged(path.read_bytes(), draw))
        found = self.read(copy)
        if same(found, expected):
            return Outcome.HELD
        if isinstance(found, list) and found[-1:] != [0] and self.files.startswith("*.jsonl"):
            return Outcome.COUNTED
        if self.checksum:
            raise WrongError(f"{path.name} was read as something else")
        return Outcome.UNSEEN


@functools.cache
def _sound(format: Format) -> tuple[Path, Any]:
    folder = Path(tempfile.mkdtemp(prefix="instrux-sound-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with quiet():
        format.make(folder)
    return folder, format.read(folder)


def same(one: Any, other: Any) -> bool:
    """Whether two trees of arrays and plain values are the same, bit for bit."""
    ones, shape = jax.tree.flatten(one)
    others, other_shape = jax.tree.flatten(other)
    return shape == other_shape and all(map(_same_leaf, ones, others))


def _same_leaf(one: Any, other: Any) -> bool:
    if hasattr(one, "dtype") and hasattr(other, "dtype"):
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        one, other = np.asarray(one), np.asarray(other)
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    return one == other


# --- Rendered, packed ------------------------------------------------------------------------------


def _task(folder: Path) -> PromptedTask:
    rows = folder / "rows.jsonl"
    if not rows.exists():
        lines = [json.dumps({"n": n, "text": f"row {n} ü"}) + "\n" for n in range(80)]
        rows.write_text("".join(lines))
    return PromptedTask(
        TASK,
        JsonLinesSource("harness", None, {"train": str(rows)}),
        Template(name="say", jinja="{{n}}: say {{text}} ||| {{n}}"),
        {"train": "train"},
    )


def make_rendered(folder: Path) -> None:
    """Renders eighty rows into two files."""
    render(tasks=[_task(folder)], data_dir=folder, num_shards=2)


def read_rendered(folder: Path) -> Any:
    """Reads a rendered split with its manifest."""
    split = RenderedSplit(folder, TASK, "train")
    about = split.manifest().manifest.to_json()
    return [about, [example.to_bytes() for example in split.read()]]


def make_packed(folder: Path) -> None:
    """Packs what was rendered, into two files."""
    make_rendered(folder)
    pack(packed_settings(), data_dir=folder, rates={TASK: 1.0})
    shutil.rmtree(folder / "rendered")


def packed_settings() -> PackSettings:
    """A small packed set."""
    return PackSettings(
        mixture="toy",
        inputs_length=64,
        targets_length=16,
        vocabulary=BYTES,
        num_examples=160,
        num_shards=2,
    )


def read_packed(folder: Path) -> Any:
    """Reads all rows of a packed set, and what its manifest says."""
    data = PackedDataset(packed_settings().folder(folder))
    return [json.loads(data.manifest.to_json()), data.rows(np.arange(len(data)))]


def make_cached(folder: Path) -> None:
    """Renders, and caches what was rendered as SeqIO does."""
    make_rendered(folder)
    cached(folder)


def cached(folder: Path, beam_args: Sequence[str] = ()) -> None:
    """Caches what was rendered in a folder."""
    import seqio

    from pipelines.cache import cache

    if TASK not in seqio.TaskRegistry.names():
        vocabulary = BYTES.to_seqio()
        features = {
            "inputs": seqio.Feature(vocabulary, add_eos=False),
            "targets": seqio.Feature(vocabulary, add_eos=True),
        }
        registration.add_prompted_task(_task(folder), output_features=features, score_eval=False)
    cache(tasks=[TASK], data_dir=folder, beam_args=beam_args)


def verified_cache(folder: Path) -> Any:
    """What `instrux verify` says of a cache."""
    for artefact in find_artefacts(folder / "cache"):
        for problem in problems_of(artefact):
            raise InputError(str(problem))
    return [path.read_bytes() for path in sorted((folder / "cache").rglob("*.tfrecord-*"))]


def train_on_cache(folder: Path) -> Any:
    """Reads some batches from a cache, as training on a SeqIO task does."""
    import seqio

    source = SeqioSource(TASK, "train", {"inputs": 32, "targets": 8}, use_cached=True)
    seqio.set_global_cache_dirs([str(folder / "cache")])
    try:
        batches = source.batches(8, seed=0)
        return [next(batches) for _ in range(12)]
    finally:
        seqio.set_global_cache_dirs([])


# --- Checkpoints -----------------------------------------------------------------------------------


@functools.cache
def _state() -> Any:
    params = {"kernel": jnp.arange(24, dtype=jnp.float32).reshape(4, 6) / 7}
    return fresh_state(
        params, AdamW().build(constant(), {"kernel": ("embed", "mlp")}), jax.random.key(1)
    )


def make_checkpoint(folder: Path) -> None:
    """Saves a training state."""
    checkpoints = Checkpoints(folder)
    checkpoints.save(_state(), Position(3, 2.5, {"shard": 1}))
    checkpoints.close()


def read_checkpoint(folder: Path) -> Any:
    """Restores a training state."""
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), _state()
    )
    checkpoints = Checkpoints(folder)
    try:
        restored = checkpoints.restore(abstract)
        return [restored.state, restored.position.batches_read, restored.position.source]
    finally:
        checkpoints.close()


def make_parameters(folder: Path) -> None:
    """Saves a model alone, as conversion does."""
    description = RunDescription.of(TINY, BYTES, inputs_length=64, targets_length=8)
    save_run(folder, description, T5(TINY).init(jax.random.key(0)), step=3)


def read_parameters(folder: Path) -> Any:
    """Loads a model as evaluation does."""
    return load_run(folder).params


# --- Foreign checkpoints ---------------------------------------------------------------------------


class _Random(Weights):
    """Random weights in memory."""

    def __init__(self) -> None:
        self.path, self.config, self.step = Path("held"), TINY, 7
        draw = np.random.default_rng(0)
        self.arrays = {
            p.name: draw.standard_normal(p.stacked_shape, np.float32) for p in parameters(TINY)
        }

    def read(self, name: str, layer: int | None) -> np.ndarray:
        return self.arrays[name] if layer is None else self.arrays[name][layer]


def make_t5x(folder: Path) -> None:
    """Writes a checkpoint of T5X."""
    write_checkpoint(folder, _Random())


def read_t5x(folder: Path) -> Any:
    """Reads every parameter of a checkpoint of T5X."""
    checkpoint = T5XCheckpoint(folder)
    return {
        f"{parameter.name} {layer}": checkpoint.read(parameter.name, layer)
        for parameter in parameters(checkpoint.config)
        for layer in parameter.layers
    }


def make_safetensors(folder: Path) -> None:
    """Writes three tensors."""
    shapes = [("one", (3, 4)), ("two", (5,)), ("three", (2, 2, 2))]
    writer = SafetensorsWriter(folder, shapes, dtype="float32", shard_bytes=1 << 20)
    for name, shape in shapes:
        writer.write(name, np.random.default_rng(0).standard_normal(shape, np.float32))
    writer.close()


def read_safetensors(folder: Path) -> Any:
    """Reads them."""
    return {name: tensor.read() for name, tensor in stored_tensors(folder).items()}


# --- Text ------------------------------------------------------------------------------------------

GIN = """
from __gin__ import dynamic_registration
from instrux.models import t5

WIDTH = 16
t5.T5Config:
  vocab_size = 384
  emb_dim = %WIDTH
  dropout_rate = 0.1
  scan_layers = False
"""
YAML = """
dataset: toy
templates:
  one: !Template
    name: first
    jinja: "{{question}} Yes or no? ||| {{answer_choices[label]}}"
    answer_choices: no ||| yes
    metadata: !TemplateMetadata {original_task: true, choices_in_prompt: false, metrics: [Accuracy]}
  two: !Template
    name: second
    jinja: "{% if label == 0 %}{{question | trim}}{% endif %} ||| {{label}}"
"""


def read_gin(folder: Path) -> Any:
    """Parses a gin file."""
    gin_config.parse([str(folder / "file.gin")])
    text = gin.config_str()
    gin.clear_config()
    return text


def read_natural(folder: Path) -> Any:
    """Reads a task of Natural Instructions."""
    return repr(load_task(folder / f"{NATURAL}.json"))


def make_natural(folder: Path) -> None:
    """Writes a task of Natural Instructions."""
    task = {
        "Categories": ["Mathematics"],
        "Definition": ["Name it."],
        "Positive Examples": [{"input": "i", "output": "o", "explanation": "e"}],
        "Negative Examples": [],
        "Instances": [{"id": f"task001-{n}", "input": f"q{n}", "output": ["a"]} for n in range(20)],
    }
    (folder / f"{NATURAL}.json").write_text(json.dumps(task))


def make_rows(folder: Path) -> None:
    """Writes JSON lines, plain and compressed."""
    lines = "".join(json.dumps({"n": n, "text": f"row {n} é" * 3}) + "\n" for n in range(60))
    (folder / "rows.jsonl").write_text(lines)
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress(lines.encode()))


def read_rows(name: str) -> Callable[[Path], Any]:
    """Reads JSON lines and the rows that cannot be read, each told by its place."""

    def read(folder: Path) -> Any:
        source = JsonLinesSource("toy", None, {"train": str(folder / name)})
        bad: list[str] = []
        shards = source.shards("train")
        read_in = functools.partial(source.read, on_bad_row=lambda _, error: bad.append(str(error)))
        rows = [row for shard in shards for row in read_in(shard)]
        raw = (folder / name).read_bytes()
        text = gzip.decompress(raw) if name.endswith(".gz") else raw
        declared = sum(1 for line in text.split(b"\n") if line.strip())
        if len(rows) + len(bad) != declared:
            raise WrongError(f"{declared} rows became {len(rows)} and {len(bad)} bad ones")
        if not all(name in error for error in bad):
            raise WrongError(f"bad rows that name no file: {bad}")
        return [repr(rows), len(bad)]

    return read


def _written(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


FORMATS = [
    Format("TFRecord of a rendered split", make_rendered, "rendered/*/*.tfrecord-*", read_rendered),
    Format("manifest of a rendered split", make_rendered, "rendered/*/manifest.*", read_rendered),
    Format("ArrayRecord of a packed set", make_packed, "packed/*/rows.*", read_packed),
    Format("manifest of a packed set", make_packed, "packed/*/manifest.json", read_packed),
    Format(
        "TFRecord of a SeqIO cache, verified", make_cached, "cache/*/*.tfrecord-*", verified_cache
    ),
    Format(
        "TFRecord of a SeqIO cache, trained on",
        make_cached,
        "cache/*/*.tfrecord-*",
        train_on_cache,
        checksum=False,
    ),
    Format("JSON of a SeqIO cache, verified", make_cached, "cache/*/*.json", verified_cache),
    Format("checkpoint of a run (Orbax)", make_checkpoint, "checkpoints/*/**/*", read_checkpoint),
    Format(
        "checkpoint of a model alone (Orbax)",
        make_parameters,
        "checkpoints/*/**/*",
        read_parameters,
    ),
    Format("T5X, msgpack", make_t5x, "checkpoint_*/checkpoint", read_t5x, checksum=False),
    Format("T5X, zarr chunks", make_t5x, "checkpoint_*/*/*", read_t5x, checksum=False),
    Format("safetensors", make_safetensors, "*.safetensors", read_safetensors, checksum=False),
    Format("gin file", _written("file.gin", GIN), "*.gin", read_gin, checksum=False),
    Format(
        "template file (YAML)",
        _written("templates.yaml", YAML),
        "*.yaml",
        lambda folder: repr(read_templates(folder / "templates.yaml", "toy")),
        checksum=False,
    ),
    Format(
        "task of Natural Instructions (JSON)", make_natural, "*.json", read_natural, checksum=False
    ),
    Format("rows, JSON lines", make_rows, "*.jsonl", read_rows("rows.jsonl"), checksum=False),
    Format("rows, JSON lines, gzip", make_rows, "*.gz", read_rows("rows.jsonl.gz"), checksum=False),
]


def kinds() -> list[Kind]:
    """Damage to each format."""
    return [
        Kind(
            "Damaged files",
            format.name,
            format.attempt,
            (TASK, NATURAL),
            prepare=functools.partial(_sound, format),
        )
        for format in FORMATS
    ]
