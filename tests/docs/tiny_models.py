"""Small models with random parameters, in the folders that the pages name."""

import dataclasses
from pathlib import Path

import jax

from instrux.data.vocabularies import VocabularySpec
from instrux.models import adapters
from instrux.models.decoder_only import DecoderConfig
from instrux.models.families import model_of
from instrux.models.t5 import T5Config
from instrux.training.checkpoints import save_run
from instrux.training.run_folder import RunDescription
from launch.convert import convert

_SIZES = {"emb_dim": 8, "num_heads": 1, "head_dim": 8, "mlp_dim": 8}
_T5 = T5Config(vocab_size=32128, **_SIZES, num_encoder_layers=1, num_decoder_layers=1)


def make_models(folder: Path, *, merges: Path) -> None:
    """Writes a T5 as a run, as Hugging Face and as T5X have it, factors beside it, and a GPT-2.

    `folder` holds `t5.model`, the T5's vocabulary; `merges` is the GPT-2's.
    """
    runs = folder / "runs"
    vocabulary = VocabularySpec.parse(str(folder / "t5.model"))
    _save(runs / "mine", _T5, vocabulary)
    (runs / "one").symlink_to("mine")
    convert(("instrux", str(runs / "mine")), ("hf", str(folder / "flan-t5-small")))
    (folder / "t0-3b").symlink_to("flan-t5-small")
    convert(("instrux", str(runs / "mine")), ("t5x", str(folder / "t5_1_1_lm100k_base")))
    # Published checkpoints bear the number of pre-training's steps.
    (written,) = (folder / "t5_1_1_lm100k_base").glob("checkpoint_*")
    written.rename(written.with_name("checkpoint_1100000"))
    factors = dataclasses.replace(_T5, lora_rank=2)
    _save(runs / "lora", factors, vocabulary, base=str(folder / "flan-t5-small"))
    pieces = VocabularySpec.parse(str(merges))
    gpt2 = DecoderConfig(
        vocab_size=pieces.load().vocab_size, **_SIZES, num_layers=1, max_positions=64, bos_id=50256
    )
    _save(folder / "gpt2-run", gpt2, pieces)
    convert(("instrux", str(folder / "gpt2-run")), ("hf", str(folder / "gpt2")))


def make_runs_over_bytes(*folders: Path) -> None:
    """Writes a T5 over bytes as a run into each folder."""
    vocabulary = VocabularySpec.parse("bytes")
    config = dataclasses.replace(_T5, vocab_size=vocabulary.load().vocab_size)
    for folder in folders:
        _save(folder, config, vocabulary)


def _save(
    folder: Path,
    config: T5Config | DecoderConfig,
    vocabulary: VocabularySpec,
    *,
    base: str | None = None,
) -> None:
    params = jax.jit(model_of(config).init)(jax.random.key(0))
    if base:
        params = adapters.adapter_params(params)
    described = RunDescription.of(config, vocabulary, inputs_length=64, targets_length=16)
    save_run(folder, dataclasses.replace(described, base=base), params, step=3)
