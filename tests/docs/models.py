"""Models for the pages' commands: small, over bytes, from random parameters."""

from pathlib import Path

import jax

from instrux.data.vocabularies import VocabularySpec
from instrux.models.t5 import T5, T5Config
from instrux.training.checkpoints import save_run
from instrux.training.run_folder import RunDescription

_BYTES = VocabularySpec.parse("bytes")


def small_run(folder: Path) -> None:
    """Saves a run of one step."""
    config = T5Config(
        vocab_size=_BYTES.load().vocab_size,
        emb_dim=8,
        num_heads=2,
        head_dim=4,
        mlp_dim=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    description = RunDescription.of(config, _BYTES, inputs_length=64, targets_length=16)
    save_run(folder, description, T5(config).init(jax.random.key(0)), step=1)
