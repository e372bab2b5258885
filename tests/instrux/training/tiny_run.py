"""A model and a packed set small enough to train in a test, and a program that trains them.

Tests load it as a module; tests that need a process of their own run it:

    python tiny_run.py MODEL_DIR DATA_DIR '{"train_steps": 4}'

which prints what came of it as one line of JSON.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from instrux.data.decoder_rows import decoder_only_features
from instrux.data.packed import PackSettings
from instrux.data.packed_manifest import PackedShard, PackedTask, PackManifest
from instrux.data.packed_rows import RowLayout, model_features
from instrux.data.vocabularies import VocabularySpec
from instrux.models.t5 import T5Config
from launch.train import train

ROWS, INPUTS_LENGTH, TARGETS_LENGTH = 24, 16, 8
VOCABULARY = VocabularySpec("bytes", extra_ids=5)
PACK = PackSettings(
    mixture="tiny",
    inputs_length=INPUTS_LENGTH,
    targets_length=TARGETS_LENGTH,
    vocabulary=VOCABULARY,
    num_examples=2 * ROWS,
)
VOCAB_SIZE = 264
CONFIG = T5Config(
    vocab_size=VOCAB_SIZE,
    emb_dim=8,
    num_heads=2,
    head_dim=4,
    mlp_dim=16,
    num_encoder_layers=2,
    num_decoder_layers=2,
)
SMALLEST = dataclasses.replace(CONFIG, num_heads=8, num_encoder_layers=1, num_decoder_layers=1)
"""Its heads can be split over eight devices."""


def packed_rows(
    num_tasks: int = 1, inputs_length: int = INPUTS_LENGTH, targets_length: int = TARGETS_LENGTH
) -> np.ndarray:
    """Rows of two segments each; a segment's targets are the start of its inputs.

    The first segment of a row is of the first task, the second of the last.
    """
    layout = RowLayout(inputs_length, targets_length, VOCAB_SIZE, num_tasks=num_tasks)
    generator = np.random.default_rng(7)
    rows = np.zeros(ROWS, layout.dtype)
    for row in rows:
        for segment in (0, 1):
            length = int(generator.integers(3, inputs_length // 2 + 1))
            inputs = generator.integers(3, VOCAB_SIZE, length)
            targets = np.append(inputs[: min(length, targets_length // 2) - 1], 1)
            start = segment * inputs_length // 2
            row["encoder_input_tokens"][start : start + length] = inputs
            row["encoder_segment_ids"][start : start + length] = segment + 1
            start = segment * targets_length // 2
            row["decoder_target_tokens"][start : start + len(targets)] = targets
            row["decoder_segment_ids"][start : start + len(targets)] = segment + 1
            row["segment_tasks"][segment] = segment * (num_tasks - 1)
    return rows


def joined_rows(rows: np.ndarray, layout: RowLayout) -> np.ndarray:
    """The same rows as one sequence each."""
    features = decoder_only_features(model_features(rows))
    joined = np.zeros(len(rows), layout.dtype)
    joined["tokens"] = features["decoder_target_tokens"]
    joined["segment_ids"] = features["decoder_segment_ids"]
    joined["is_target"] = features["decoder_loss_weights"]
    slots = rows["segment_tasks"].shape[1]
    joined["segment_tasks"][:, :slots] = rows["segment_tasks"]
    return joined


def write_packed_set(
    data_dir: Path, pack: PackSettings = PACK, tasks: Sequence[str] = ("copy",)
) -> None:
    """Writes the set that `pack` names below `data_dir`."""
    folder = pack.folder(data_dir)
    folder.mkdir(parents=True)
    path = folder / "rows.array_record-00000-of-00001"
    writer = ArrayRecordWriter(str(path), "group_size:1")
    rows = packed_rows(len(tasks), pack.inputs_length, pack.targets_length)
    if pack.joined:
        layout = RowLayout(
            pack.inputs_length, pack.targets_length, VOCAB_SIZE, len(tasks), joined=True
        )
        rows = joined_rows(rows, layout)
    for row in rows:
        writer.write(row.tobytes())
    writer.close()
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    manifest = PackManifest(
        settings=pack.identity(),
        vocabulary_path=None,
        vocab_size=VOCAB_SIZE,
        tasks=tuple(
            PackedTask(
                name=name,
                rate=1.0,
                share_asked=1.0 / len(tasks),
                share=1.0 / len(tasks),
                examples=2 * ROWS // len(tasks),
                available=2 * ROWS // len(tasks),
                inputs_tokens=0,
                targets_tokens=0,
                inputs_truncated=0,
                targets_truncated=0,
                source_digest="",
            )
            for name in tasks
        ),
        shards=(PackedShard(name=path.name, rows=ROWS, size=len(content), sha256=digest),),
        rows=ROWS,
        examples=2 * ROWS,
        inputs_efficiency=0.5,
        targets_efficiency=0.5,
        rows_lower_bound=ROWS,
        instrux_version="0",
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    (folder / "COMPLETED").write_text("")


def train_tiny(model_dir: Path | str, data_dir: Path | str, **settings):
    """`launch.train.train` with tiny defaults."""
    defaults = {
        "model": CONFIG,
        "pack": PACK,
        "batch_size": 8,
        "train_steps": 4,
        "log_every_steps": 1,
        "tensorboard": False,
        "compile_cache": str(Path(data_dir) / "jax"),
        "peak_flops": 1e12,
    }
    return train(model_dir=str(model_dir), data_dir=str(data_dir), **{**defaults, **settings})


if __name__ == "__main__":
    result = train_tiny(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))
    print(json.dumps({"step": result.step, "tensorflow": "tensorflow" in sys.modules}))
