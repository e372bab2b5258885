"""Hugging Face's folders of T5's family, GPT-2 and Llama: safetensors and `config.json`.

What lies where differs from family to family, and is said in `huggingface_t5`, `huggingface_gpt2`
and `huggingface_llama`; docs/checkpoints.md has the tables of names. Pickled weights
(`pytorch_model.bin`) are refused: reading a pickle runs its code.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from instrux.interop import huggingface_gpt2, huggingface_llama, huggingface_t5
from instrux.interop.huggingface_layout import Layout, Place
from instrux.interop.huggingface_tokenizer import Tokenizer, find_tokenizer, write_tokenizer
from instrux.interop.parameters import (
    FLOAT_DTYPES,
    CheckpointFormatError,
    OnPiece,
    Parameter,
    Weights,
    parameters,
    pieces,
)
from instrux.interop.safetensors_files import (
    INDEX,
    SINGLE,
    SafetensorsWriter,
    stored_tensors,
)
from instrux.models.decoder_config import DecoderConfig
from instrux.models.families import ModelConfig

__all__ = ["CONFIG", "HuggingFaceFolder", "Tokenizer", "is_folder", "write_folder"]

CONFIG = "config.json"
_STEP = "instrux_step"
_PICKLES = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
)
_LAYOUTS: dict[str, Layout] = {
    "t5": huggingface_t5,
    "mt5": huggingface_t5,
    "umt5": huggingface_t5,
    "gpt2": huggingface_gpt2,
    "llama": huggingface_llama,
}
"""The layout of each `model_type` that is read."""


def is_folder(path: Path) -> bool:
    """Whether a path looks like a Hugging Face folder: a `config.json` with weights beside it."""
    names = (SINGLE, INDEX, *_PICKLES)
    return (path / CONFIG).is_file() and any((path / name).exists() for name in names)


class HuggingFaceFolder(Weights):
    """A Hugging Face folder of the T5 family, of GPT-2 or of Llama.

    Attributes:
        tokenizer: what its tokens are, None where no file of the folder tells.
    """

    def __init__(self, path: str | Path) -> None:
        """Reads `config.json` and the headers; no tensor, but to compare two that should be one.

        Raises:
            CheckpointFormatError: it is no such folder, its weights are pickled, the architecture
                is another, or a tensor is missing, too many or of another shape.
        """
        self.path = Path(path)
        settings = _read_settings(self.path)
        _refuse_pickles(self.path)
        layout = _LAYOUTS[settings["model_type"]]
        stored = layout.read(settings, self.path / CONFIG, stored_tensors(self.path))
        self.config, self._tensors, self._place_of = stored
        step = settings.get(_STEP)
        self.step = step if type(step) is int and step >= 0 else 0
        self.tokenizer = find_tokenizer(self.path, settings["model_type"])
        self._check()

    def read(self, name: str, layer: int | None) -> np.ndarray:
        """Reads one tensor, in our orientation."""
        place = self._place_of(name, layer)
        tensor = self._tensors[place.tensor].read()
        if place.columns is not None:
            tensor = tensor[..., slice(*place.columns)]
        return np.ascontiguousarray(tensor.T if place.transposed else tensor)

    def _check(self) -> None:
        """Holds names and shapes against the model's."""
        expected: dict[str, tuple[int, ...]] = {}
        for parameter in parameters(self.config):
            for layer in parameter.layers:
                place = self._place_of(parameter.name, layer)
                shape = _shape_with(parameter, place, expected.get(place.tensor))
                expected[place.tensor] = shape
        for name in sorted(expected.keys() | self._tensors.keys()):
            tensor, shape = self._tensors.get(name), expected.get(name)
            if tensor is None:
                raise CheckpointFormatError(
                    f"{self.path}: {name} is absent; the folder is incomplete, or {CONFIG} is"
                    " another model's."
                )
            if tensor.shape != shape:
                wanted = "no place for it" if shape is None else f"the shape {list(shape)}"
                raise CheckpointFormatError(
                    f"{tensor.file}: {name} has shape {list(tensor.shape)}; the model of {CONFIG} has"
                    f" {wanted}."
                )


def _shape_with(
    parameter: Parameter, place: Place, known: tuple[int, ...] | None
) -> tuple[int, ...]:
    """The shape of the tensor of a place, as far as this parameter and those before tell it."""
    shape = parameter.shape[::-1] if place.transposed else parameter.shape
    if place.columns is None:
        return shape
    return (*shape[:-1], max(place.columns[1], 0 if known is None else known[-1]))


def _read_settings(folder: Path) -> Mapping[str, Any]:
    file = folder / CONFIG
    try:
        settings = json.loads(file.read_bytes())
    except OSError as error:
        raise CheckpointFormatError(
            f"{file}: {error.strerror or error}; name a folder that transformers saved."
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointFormatError(f"{file}: its JSON is malformed.") from error
    if not isinstance(settings, dict) or settings.get("model_type") not in _LAYOUTS:
        kind = settings.get("model_type") if isinstance(settings, dict) else None
        raise CheckpointFormatError(
            f"{file}: model_type is {kind!r}; t5 (also Flan-T5, T0, ByT5, UL2), mt5, umt5, gpt2"
            " and llama are read."
        )
    return settings


def _refuse_pickles(folder: Path) -> None:
    if (folder / SINGLE).is_file() or (folder / INDEX).is_file():
        return
    found = [name for name in _PICKLES if (folder / name).exists()]
    raise CheckpointFormatError(
        f"{folder}: {'holds ' + found[0] + ' and ' if found else ''}no safetensors; pickled weights"
        " can run any code and are never loaded. Where you trust them, convert them once: python -c"
        ' "from transformers import AutoModelForSeq2SeqLM as M;'
        f" M.from_pretrained('{folder}').save_pretrained('{folder}-safetensors')\" (AutoModelForCausalLM for"
        " GPT-2 and Llama), and copy the tokenizer's files there."
    )


def write_folder(
    folder: Path,
    weights: Weights,
    *,
    tokenizer: Tokenizer | None = None,
    dtype: str = "float32",
    shard_bytes: int = 5 * 10**9,
    on_piece: OnPiece = lambda done: None,
) -> None:
    """Writes a folder that transformers' `from_pretrained` reads.

    Args:
        folder: gets the files; the caller sees to it that it appears whole.
        weights: what to write.
        tokenizer: copied along where given.
        dtype: one of `WRITTEN_DTYPES`.
        shard_bytes: size of a safetensors file.
        on_piece: told of the progress.

    Raises:
        CheckpointFormatError: a tensor of `weights` does not fit its model.
        InputError: the model is none that transformers has.
    """
    layout = layout_of(weights.config)
    settings = layout.settings(weights.config)
    place_of = layout.place_of(weights.config)
    folder.mkdir(parents=True, exist_ok=True)
    shapes: dict[str, tuple[int, ...]] = {}
    for parameter in parameters(weights.config):
        for layer in parameter.layers:
            place = place_of(parameter.name, layer)
            shapes[place.tensor] = _shape_with(parameter, place, shapes.get(place.tensor))
    writer = SafetensorsWriter(folder, list(shapes.items()), dtype=dtype, shard_bytes=shard_bytes)
    for parameter, layer, tensor in pieces(weights, FLOAT_DTYPES[dtype], on_piece):
        place = place_of(parameter.name, layer)
        oriented = tensor.T if place.transposed else tensor
        first = None if place.columns is None else place.columns[0]
        writer.write(place.tensor, oriented, first_column=first)
    writer.close()
    if tokenizer is not None:
        write_tokenizer(folder, tokenizer, settings["model_type"])
        if tokenizer.eos_id is not None:
            settings["eos_token_id"] = tokenizer.eos_id
    ids = {name: settings[name] for name in settings if name.endswith("_token_id")}
    _write_json(folder / "generation_config.json", ids)
    _write_json(folder / CONFIG, settings | {"torch_dtype": dtype, _STEP: weights.step})


def layout_of(config: ModelConfig) -> Layout:
    """How the folder of a model is laid out."""
    if not isinstance(config, DecoderConfig):
        return huggingface_t5
    return huggingface_llama if config.positions == "rotary" else huggingface_gpt2


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
