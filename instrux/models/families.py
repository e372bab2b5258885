"""The families of models, and what they have in common: training, decoding and scoring take any."""

from instrux.models.decoder_only import DecoderConfig, DecoderOnly
from instrux.models.t5 import T5, T5Config

Model = T5 | DecoderOnly
ModelConfig = T5Config | DecoderConfig

CONFIGS: dict[str, type[T5Config] | type[DecoderConfig]] = {
    "t5": T5Config,
    "decoder_only": DecoderConfig,
}
"""The configuration of each family, by the name that `model.json` has for it."""


def model_of(config: ModelConfig) -> Model:
    """The model of a configuration."""
    return DecoderOnly(config) if isinstance(config, DecoderConfig) else T5(config)


def family_of(config: ModelConfig) -> str:
    """The name of a configuration's family."""
    return next(name for name, kind in CONFIGS.items() if isinstance(config, kind))
