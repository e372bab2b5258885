"""Folders of Hugging Face's PEFT: adapters of a model, `adapter_config.json` beside safetensors.

Low-rank factors are read and written as `peft_factors` says, soft prompts as said here. PEFT puts
a prompt in front of whatever a model is fed, so a language model's gets the embedding of `bos_id`
as its first row, which here stands before the prompt; the prompt of an encoder is the same in both.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from instrux.errors import InputError
from instrux.interop import peft_factors
from instrux.interop.huggingface import layout_of
from instrux.interop.huggingface_layout import refuse_other_values
from instrux.interop.parameters import FLOAT_DTYPES, CheckpointFormatError, Weights
from instrux.interop.safetensors_files import SafetensorsWriter, StoredTensor, tensors_of_file
from instrux.models.decoder_config import DecoderConfig
from instrux.models.families import ModelConfig

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
_PROMPT, _PROMPT_TENSOR = "prompt.embedding", "prompt_embeddings"


@dataclass(frozen=True)
class Adapters:
    """The adapters of a model.

    Attributes:
        config: the model's, adapters included.
        arrays: dotted name -> float32 array, as in the tree of the model's `init`.
        base: what PEFT's settings call the base; None where they do not.
    """

    config: ModelConfig
    arrays: Mapping[str, np.ndarray]
    base: str | None


def is_folder(path: Path) -> bool:
    """Whether a path looks like a folder of PEFT's."""
    return (path / CONFIG).is_file()


def named_base(path: str | Path) -> str | None:
    """What a folder's settings call its base.

    Raises:
        CheckpointFormatError: it is no such folder.
    """
    name = _settings(Path(path)).get("base_model_name_or_path")
    return name if isinstance(name, str) else None


def read_adapters(path: str | Path, base: Weights) -> Adapters:
    """Reads a folder's adapters, as those of a base.

    Args:
        path: the folder.
        base: what they stand beside, in our ids.

    Raises:
        CheckpointFormatError: it is no such folder, they are of another base, or of a kind that is
            not computed here.
    """
    folder = Path(path)
    settings = _settings(folder)
    tensors = tensors_of_file(folder / TENSORS)
    if settings.get("peft_type") == "LORA":
        factors = peft_factors.read(settings, folder / CONFIG, tensors, base.config)
        config, arrays = factors.config, factors.arrays
    else:
        prompt = _read_prompt(settings, folder, tensors, base)
        config, arrays = replace(base.config, prompt_length=len(prompt)), {_PROMPT: prompt}
    return Adapters(config, arrays, named_base(folder))


def write_adapters(folder: Path, adapters: Adapters, base: Weights, *, dtype: str) -> int:
    """Writes a folder that PEFT's `PeftModel.from_pretrained` reads.

    Args:
        folder: gets the files; the caller sees to it that it appears whole.
        adapters: what to write.
        base: what they stand beside, in our ids.
        dtype: one of `WRITTEN_DTYPES`.

    Returns:
        How many tensors were written.

    Raises:
        InputError: transformers has no such base, or PEFT no such adapters.
    """
    config = adapters.config
    layout = layout_of(config)
    layout.settings(base.config)  # refuses what transformers cannot compute
    if config.prompt_length and config.lora_rank:
        raise InputError(
            "the model has a soft prompt and low-rank factors, and a folder of PEFT's holds one kind."
        )
    if config.prompt_length:
        settings, tensors = _prompt_to_write(adapters, base)
    else:
        settings, tensors = peft_factors.to_write(config, adapters.arrays, layout.place_of(config))
    task = "CAUSAL_LM" if isinstance(config, DecoderConfig) else "SEQ_2_SEQ_LM"
    shared = {"task_type": task, "base_model_name_or_path": adapters.base, "inference_mode": True}
    folder.mkdir(parents=True, exist_ok=True)
    shapes = [(name, tensor.shape) for name, tensor in tensors.items()]
    writer = SafetensorsWriter(folder, shapes, dtype=dtype, shard_bytes=2**62, single=TENSORS)
    for name, tensor in tensors.items():
        writer.write(name, tensor.astype(FLOAT_DTYPES[dtype]))
    writer.close()
    text = json.dumps(shared | settings, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    return len(tensors)


def _settings(folder: Path) -> Mapping[str, Any]:
    file = folder / CONFIG
    try:
        settings = json.loads(file.read_bytes())
    except OSError as error:
        raise CheckpointFormatError(
            f"{file}: {error.strerror or error}; name a folder that PEFT saved."
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointFormatError(f"{file}: its JSON is malformed.") from error
    kind = settings.get("peft_type") if isinstance(settings, dict) else None
    if kind not in ("LORA", "PROMPT_TUNING"):
        raise CheckpointFormatError(
            f"{file}: peft_type is {kind!r}; LORA and PROMPT_TUNING are read."
        )
    return settings


def _read_prompt(
    settings: Mapping[str, Any], folder: Path, tensors: Mapping[str, StoredTensor], base: Weights
) -> np.ndarray:
    """A prompt, float32 `[prompt length, embed]`."""
    refuse_other_values(settings, folder / CONFIG, {"modules_to_save": (None, [])})
    count, tensor = settings.get("num_virtual_tokens"), tensors.get(_PROMPT_TENSOR)
    if list(tensors) != [_PROMPT_TENSOR] or tensor is None:
        raise CheckpointFormatError(
            f"{folder / TENSORS}: holds {sorted(tensors)[:3]}, where {_PROMPT_TENSOR} alone should be."
        )
    width = base.config.emb_dim
    # PEFT gives an encoder-decoder's settings twice the rows by default, and uses the first half.
    shapes = [(count, width), (2 * count, width)] if type(count) is int and count > 0 else []
    if tensor.shape not in shapes:
        raise CheckpointFormatError(
            f"{folder / TENSORS}: {_PROMPT_TENSOR} has shape {list(tensor.shape)}, where"
            f" {count} tokens of a base {width} wide are told; name their own base."
        )
    prompt = tensor.read().astype(np.float32)[:count]
    if not isinstance(base.config, DecoderConfig):
        return prompt
    if len(prompt) < 2 or not np.array_equal(prompt[0], _start(base).astype(np.float32)):
        raise CheckpointFormatError(
            f"{folder / TENSORS}: the prompt does not begin with the base's embedding of token"
            f" {base.config.bos_id}, which every sequence begins with here; it has no place."
        )
    return prompt[1:]


def _start(base: Weights) -> np.ndarray:
    """The embedding that a language model's sequences begin with, `[embed]`."""
    assert isinstance(base.config, DecoderConfig)
    return base.read("token_embedder.embedding", None)[base.config.bos_id]


def _prompt_to_write(
    adapters: Adapters, base: Weights
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The settings and the tensor of a soft prompt."""
    config, prompt = adapters.config, np.asarray(adapters.arrays[_PROMPT], np.float32)
    if isinstance(config, DecoderConfig):
        prompt = np.concatenate([_start(base)[None].astype(np.float32), prompt])
        num_layers = config.num_layers
    else:
        num_layers = config.num_encoder_layers
    settings = {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": len(prompt),
        "num_transformer_submodules": 1,
        "token_dim": config.emb_dim,
        "num_layers": num_layers,
        "num_attention_heads": config.num_heads,
        "prompt_tuning_init": "RANDOM",
    }
    return settings, {_PROMPT_TENSOR: prompt}
