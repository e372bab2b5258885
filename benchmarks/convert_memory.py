"""Memory and time of a conversion at a real size, there and back, with made-up parameters.

    python benchmarks/convert_memory.py --room FOLDER --vocabulary t5.model --model xxl

Writes T5 1.1 as Hugging Face has it in FOLDER (bfloat16, 22 GB for XXL's 11.1 billion parameters),
converts it to ours, deletes it, converts back, and holds every bit against what was written. The
disk has to have room for twice the size.
"""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
from child_processes import run_child

from instrux.interop.safetensors_files import SafetensorsWriter, stored_tensors

# d_model, heads of 64, d_ff, layers a stack: T5 1.1's.
MODELS = {
    "small": (512, 6, 1024, 8),
    "base": (768, 12, 2048, 12),
    "large": (1024, 16, 2816, 24),
    "xl": (2048, 32, 5120, 24),
    "xxl": (4096, 64, 10240, 24),
}
SHARD_BYTES = 5 * 10**9  # Hugging Face's own default is of this size
_DRAWN = np.random.default_rng(0).normal(size=2**22).astype(ml_dtypes.bfloat16)

Shapes = list[tuple[str, tuple[int, ...]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--room", type=Path, required=True, help="an existing folder")
    parser.add_argument("--vocabulary", required=True, help="a SentencePiece model")
    parser.add_argument("--model", choices=MODELS, default="small")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.room) as room:
        measure(Path(room), options.model, options.vocabulary)


def measure(room: Path, model: str, vocabulary: str) -> None:
    """Makes the checkpoint, converts it there and back, and prints what each took."""
    # In a process of its own: a child's memory counts from what its parent holds when it starts.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        config, shapes = pool.submit(layout, model).result()
    theirs, ours, again = room / "theirs", room / "ours", room / "again"
    write(theirs, config, shapes)
    numbers = sum(int(np.prod(shape)) for _, shape in shapes)
    largest = max(int(np.prod(shape)) for _, shape in shapes)
    print(f"T5 1.1 {model}: {numbers:,} numbers, {2 * numbers / 1e9:.1f} GB in bfloat16;")
    print(f"the largest tensor is {4 * largest / 2**20:,.0f} MiB in float32", flush=True)
    convert("hf", theirs, "instrux", ours, "--vocabulary", vocabulary)
    shutil.rmtree(theirs)
    convert("instrux", ours, "hf", again, "--dtype", "bfloat16")
    stored = stored_tensors(again)
    assert set(stored) == {name for name, _ in shapes}, "other tensors came back"
    for name, shape in shapes:
        found = stored[name].read()
        assert found.dtype == _DRAWN.dtype and found.tobytes() == tensor(name, shape).tobytes(), (
            name
        )
    print(f"all {len(shapes)} tensors came back bit for bit")


def layout(model: str) -> tuple[str, Shapes]:
    """Hugging Face's configuration as JSON, and its tensors' names and shapes; nothing is drawn."""
    import torch
    import transformers

    d_model, heads, d_ff, layers = MODELS[model]
    config = transformers.T5Config(
        vocab_size=32128,
        d_model=d_model,
        d_kv=64,
        d_ff=d_ff,
        num_heads=heads,
        num_layers=layers,
        num_decoder_layers=layers,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        architectures=["T5ForConditionalGeneration"],
        dtype="bfloat16",
    )
    with torch.device("meta"):
        peer = transformers.T5ForConditionalGeneration(config)
    copies = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    shapes = [
        (name, tuple(each.shape)) for name, each in peer.state_dict().items() if name not in copies
    ]
    return config.to_json_string(use_diff=False), shapes


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor's numbers: drawn ones, from a place on that its name tells, over and over."""
    start = zlib.crc32(name.encode()) % len(_DRAWN)
    return np.resize(np.roll(_DRAWN, -start), shape)


def write(folder: Path, config: str, shapes: Shapes) -> None:
    """Writes a checkpoint as Hugging Face publishes it."""
    folder.mkdir()
    (folder / "config.json").write_text(config)
    writer = SafetensorsWriter(folder, shapes, dtype="bfloat16", shard_bytes=SHARD_BYTES)
    for name, shape in shapes:
        writer.write(name, tensor(name, shape))
    writer.close()


def convert(source: str, read: Path, target: str, written: Path, *options: str) -> None:
    """Runs `instrux convert`, and prints its time and the most memory that it held."""
    command = ["convert", "--from", source, str(read), "--to", target, str(written), *options]
    said = "import sys; from launch.cli import main; sys.stdout = sys.stderr; sys.exit(main())"
    run = run_child([sys.executable, "-c", said, *command])
    print(
        f"{source} to {target}: {run.wall:,.0f} s, {run.cpu:,.0f} CPU-s; {run.peak_mb:,.0f} MiB of"
        f" memory at most; {size_gb(written):.1f} GB written",
        flush=True,
    )


def size_gb(folder: Path) -> float:
    """What a folder's files hold, in GB."""
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()) / 1e9


if __name__ == "__main__":
    main()
