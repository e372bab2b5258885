"""Converts a T5 of some 300 MB and a GPT-2 of half that through every format and prints how much memory that took.

Run by test_convert.py in a process of its own, because a process's peak never goes down.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np

from instrux.interop.huggingface import write_folder
from instrux.interop.parameters import Weights, parameters
from instrux.models.decoder_config import DecoderConfig
from instrux.models.t5 import T5Config
from launch.convert import ConvertSettings, convert

SIZES = {"vocab_size": 384, "head_dim": 64, "num_heads": 8}
LARGE = T5Config(**SIZES, emb_dim=512, mlp_dim=2048, num_encoder_layers=10, num_decoder_layers=8)
SMALL = T5Config(**SIZES, emb_dim=8, mlp_dim=8, num_encoder_layers=1, num_decoder_layers=1)
LARGE_DECODER = DecoderConfig(**SIZES, emb_dim=512, mlp_dim=2048, num_layers=12)
SMALL_DECODER = DecoderConfig(**{**SIZES, "head_dim": 1}, emb_dim=8, mlp_dim=8, num_layers=1)


class Random(Weights):
    """Weights that are drawn when they are asked for."""

    def __init__(self, config):
        self.path, self.config, self.step = Path("random"), config, 3
        self._shapes = {p.name: p.shape for p in parameters(config)}

    def read(self, name, layer):
        seed = sum(map(ord, name)) + 1000 * (0 if layer is None else layer)
        drawn = np.random.default_rng(seed).integers(-9, 9, self._shapes[name], np.int8)
        return drawn.astype(np.float32)  # few different values, which compress fast


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def way(folder, config, kinds=("instrux", "t5x", "instrux", "hf"), shard_bytes=10**8):
    """From Hugging Face through these kinds, T5X's scanned: the peak after each."""
    folder.mkdir(parents=True)
    write_folder(folder / "hf", Random(config), shard_bytes=shard_bytes)
    path = ("hf", str(folder / "hf"))
    peaks = {}
    for number, kind in enumerate(kinds):
        target = (kind, str(folder / str(number)))
        convert(path, target, vocabulary="bytes:100", settings=ConvertSettings(scanned=True))
        peaks[f"{number}: {path[0]} to {kind}"] = peak_mib()
        path = target
    return peaks


if __name__ == "__main__":
    out = Path(sys.argv[1])
    ours = ("instrux", "hf")
    way(out / "small", SMALL)  # loads every library
    way(out / "small_decoder", SMALL_DECODER, ours)
    before = peak_mib()
    growth = {}
    for name, config, kinds in (("gpt2", LARGE_DECODER, ours), ("t5", LARGE, None)):
        peaks = way(out / name, config, *([] if kinds is None else [kinds]))
        growth |= {f"{name} {way}": round(peak - before) for way, peak in peaks.items()}
    total = sum(4 * int(np.prod(p.stacked_shape)) for p in parameters(LARGE)) / 2**20
    print(json.dumps({"model_mib": round(total), "growth_mib": growth}))
