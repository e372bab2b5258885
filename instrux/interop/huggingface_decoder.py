"""What GPT-2's and Llama's folders have in common."""

from pathlib import Path
from typing import Any

from instrux.errors import InputError
from instrux.interop.huggingface_layout import Settings
from instrux.interop.parameters import CheckpointFormatError
from instrux.models.decoder_config import DecoderConfig

LOGITS = "decoder.logits_dense.kernel"
# transformers' activation -> ours. Its `gelu` is the exact one, and ours is GPT-2's approximation.
ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "relu": "relu", "silu": "silu"}


def activation(settings: Settings, name: str, default: str, file: Path) -> str:
    """The activation that a setting names.

    Raises:
        CheckpointFormatError: it is none that is computed here.
    """
    named = settings.get(name, default)
    if named not in ACTIVATIONS:
        raise CheckpointFormatError(
            f"{file}: {name} {named!r} is not computed here; {', '.join(ACTIVATIONS)} are."
        )
    return ACTIVATIONS[named]


def make_config(file: Path, values: dict[str, Any]) -> DecoderConfig:
    """The configuration of some values.

    Raises:
        CheckpointFormatError: there is no such model.
    """
    try:
        return DecoderConfig(**values)
    except (InputError, TypeError, ValueError) as error:
        raise CheckpointFormatError(f"{file}: {error}") from error


def required(settings: Settings, name: str, file: Path) -> Any:
    """A setting that has to be there.

    Raises:
        CheckpointFormatError: it is not.
    """
    if settings.get(name) is None:
        raise CheckpointFormatError(f"{file}: {name!r} is absent.")
    return settings[name]


def refuse_unless(fits: bool, config: DecoderConfig, what: str, kind: str) -> None:
    """Refuses to write a model that transformers' kind of model cannot compute.

    Raises:
        InputError: it does not fit.
    """
    if not fits:
        raise InputError(
            f"{what} is {getattr(config, what)}, and transformers' {kind} has none such; keep the model"
            " as a run of ours."
        )
