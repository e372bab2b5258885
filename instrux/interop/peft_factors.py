"""Low-rank factors in PEFT's layout: `lora_A` `[rank, inputs]` and `lora_B` `[outputs, rank]` a module.

A module is a tensor of the base's folder. Where several kernels of ours are the columns of one
(GPT-2's queries, keys and values), factors of PEFT's are shared: ours of one kernel become blocks
of larger ones, with the rank of all together, unless they have the same A.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from instrux.interop.huggingface import layout_of
from instrux.interop.huggingface_layout import PlaceOf, refuse_other_values
from instrux.interop.parameters import CheckpointFormatError, parameters
from instrux.interop.safetensors_files import StoredTensor
from instrux.models.adapters import without_adapters
from instrux.models.families import ModelConfig

_PREFIX = "base_model.model."
_TENSOR = re.compile(re.escape(_PREFIX) + r"(?P<module>.+)\.lora_(?P<factor>[AB])\.weight")
# Variants of PEFT's that compute something else, with the values that switch them off.
_OFF: Mapping[str, tuple] = {
    "bias": ("none",),
    "modules_to_save": (None, []),
    **dict.fromkeys(("use_dora", "lora_bias", "use_qalora"), (False, None)),
    **dict.fromkeys(
        (
            "alora_invocation_tokens",
            "arrow_config",
            "kasa_config",
            "layer_replication",
            "monteclora_config",
            "target_parameters",
            "trainable_token_indices",
            "use_bdlora",
            "velora_config",
        ),
        (None,),
    ),
}


class _Part(NamedTuple):
    """A kernel of ours, one layer of it, in a module of the base's folder.

    Attributes:
        kernel: dotted name, without `.kernel`.
        layer: which layer.
        columns: its first and last but one column, where it is not the whole module.
        shape: `[inputs, outputs]`.
    """

    kernel: str
    layer: int
    columns: tuple[int, int] | None
    shape: tuple[int, ...]


class Factors(NamedTuple):
    """A model with low-rank factors, and these by their dotted names, stacked."""

    config: ModelConfig
    arrays: dict[str, np.ndarray]


class _Pair(NamedTuple):
    """A module's factors in our orientation, A `[inputs, rank]` and B `[rank, outputs]`, and alpha / rank."""

    first: np.ndarray
    second: np.ndarray
    scale: float


def read(
    settings: Mapping[str, Any], file: Path, tensors: Mapping[str, StoredTensor], base: ModelConfig
) -> Factors:
    """Reads factors.

    Args:
        settings: content of `adapter_config.json`.
        file: that file, for messages.
        tensors: of the folder.
        base: the model they stand beside.

    Raises:
        CheckpointFormatError: they are of another model, or of a variant that is not computed here.
    """
    refuse_other_values(settings, file, _OFF)
    modules = _modules(base, layout_of(base).place_of(base))
    pairs = {
        name: _pair(name, found, modules[name], settings, file)
        for name, found in _by_module(tensors, modules, file).items()
    }
    rank = max(pair.first.shape[1] for pair in pairs.values())
    scale = next(iter(pairs.values())).scale
    arrays: dict[str, np.ndarray] = {}
    for name, pair in pairs.items():
        for part in modules[name]:
            _add(arrays, part, pair, rank=rank, scale=scale, layers=_depth(modules, part.kernel))
    kernels = sorted({name.rpartition(".")[0].replace(".", "/") for name in arrays})
    try:
        config = replace(
            base,
            lora_rank=rank,
            lora_alpha=scale * rank,
            lora_dropout=float(settings.get("lora_dropout", 0.0)),
            lora_targets=f"({'|'.join(map(re.escape, kernels))})/kernel",
        )
    except (TypeError, ValueError) as error:
        raise CheckpointFormatError(f"{file}: {error}") from error
    return Factors(config, arrays)


def to_write(
    config: ModelConfig, arrays: Mapping[str, np.ndarray], place_of: PlaceOf
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The settings and the tensors of factors.

    Args:
        config: the model's.
        arrays: by their dotted names, stacked.
        place_of: where the base's kernels lie in its folder.
    """
    modules = _modules(without_adapters(config), place_of)
    adapted = {
        name: parts
        for name, parts in modules.items()
        if any(f"{part.kernel}.lora_a" in arrays for part in parts)
    }
    shared = all(_same_first(arrays, parts) for parts in adapted.values())
    tensors: dict[str, np.ndarray] = {}
    wide: dict[str, int] = {}
    for name, parts in adapted.items():
        first, second = _joined(arrays, parts, shared=shared)
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = np.ascontiguousarray(first.T)
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = np.ascontiguousarray(second.T)
        if (times := first.shape[1] // config.lora_rank) > 1:
            wide[name] = times
    patterns = dict(zip(_short(list(wide), list(modules)), wide.values(), strict=False))
    kernel = next(iter(modules.values()))[0]
    settings = {
        "peft_type": "LORA",
        "r": config.lora_rank,
        "lora_alpha": _whole(config.lora_alpha),
        "lora_dropout": config.lora_dropout,
        "target_modules": _short(list(adapted), list(modules)),
        "rank_pattern": {name: times * config.lora_rank for name, times in patterns.items()},
        "alpha_pattern": {
            name: _whole(times * config.lora_alpha) for name, times in patterns.items()
        },
        "bias": "none",
        "fan_in_fan_out": not place_of(f"{kernel.kernel}.kernel", kernel.layer).transposed,
    }
    return settings, tensors


def _modules(base: ModelConfig, place_of: PlaceOf) -> dict[str, list[_Part]]:
    """The kernels of layers by the modules of the base's folder."""
    modules: dict[str, list[_Part]] = {}
    for parameter in parameters(base):
        if parameter.num_layers is None or not parameter.name.endswith(".kernel"):
            continue
        kernel = parameter.name.removesuffix(".kernel")
        for layer in range(parameter.num_layers):
            place = place_of(parameter.name, layer)
            part = _Part(kernel, layer, place.columns, parameter.shape)
            modules.setdefault(place.tensor.removesuffix(".weight"), []).append(part)
    for parts in modules.values():
        parts.sort(key=lambda part: part.columns or (0, 0))
    return modules


def _depth(modules: Mapping[str, Sequence[_Part]], kernel: str) -> int:
    return 1 + max(
        part.layer for parts in modules.values() for part in parts if part.kernel == kernel
    )


def _by_module(
    tensors: Mapping[str, StoredTensor], modules: Mapping[str, Any], file: Path
) -> dict[str, dict[str, StoredTensor]]:
    found: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None or match["module"] not in modules:
            raise CheckpointFormatError(
                f"{tensor.file}: {name} belongs to no kernel of a layer of the base; factors of"
                " other modules are not computed here, or the base is another."
            )
        found.setdefault(match["module"], {})[match["factor"]] = tensor
    if not found:
        raise CheckpointFormatError(f"{file.parent}: holds no factors.")
    return found


def _pair(
    module: str,
    found: Mapping[str, StoredTensor],
    parts: Sequence[_Part],
    settings: Mapping[str, Any],
    file: Path,
) -> _Pair:
    inputs, outputs = parts[0].shape[0], sum(part.shape[1] for part in parts)
    shapes = {factor: tensor.shape for factor, tensor in found.items()}
    rank = shapes.get("A", (0,))[0]
    if shapes != {"A": (rank, inputs), "B": (outputs, rank)} or rank < 1:
        raise CheckpointFormatError(
            f"{file.parent}: the factors of {module} have shapes {shapes}, and the base's module has"
            f" {inputs} inputs and {outputs} outputs; name their own base."
        )
    alpha = settings.get("lora_alpha", 8)
    for pattern, value in (settings.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = value
            break
    if not isinstance(alpha, int | float) or not alpha > 0:
        raise CheckpointFormatError(f"{file}: lora_alpha of {module} is {alpha!r}.")
    by = math.sqrt(rank) if settings.get("use_rslora") else rank
    first, second = (found[factor].read().astype(np.float32).T for factor in "AB")
    return _Pair(first, second, alpha / by)


def _add(
    arrays: dict[str, np.ndarray],
    part: _Part,
    pair: _Pair,
    *,
    rank: int,
    scale: float,
    layers: int,
) -> None:
    """Puts a module's factors where those of one kernel's layer are; what is left over is zero."""
    inputs, outputs = part.shape
    first = arrays.setdefault(f"{part.kernel}.lora_a", np.zeros((layers, inputs, rank), np.float32))
    second = arrays.setdefault(
        f"{part.kernel}.lora_b", np.zeros((layers, rank, outputs), np.float32)
    )
    own = pair.first.shape[1]
    columns = slice(None) if part.columns is None else slice(*part.columns)
    first[part.layer, :, :own] = pair.first
    second[part.layer, :own] = pair.second[:, columns]
    if pair.scale != scale:
        second[part.layer, :own] *= np.float32(pair.scale / scale)


def _same_first(arrays: Mapping[str, np.ndarray], parts: Sequence[_Part]) -> bool:
    """Whether all kernels of a module have factors, with the same A."""
    firsts = [arrays.get(f"{part.kernel}.lora_a") for part in parts]
    return all(
        one is not None
        and firsts[0] is not None
        and np.array_equal(one[p.layer], firsts[0][p.layer])
        for one, p in zip(firsts, parts, strict=True)
    )


def _joined(
    arrays: Mapping[str, np.ndarray], parts: Sequence[_Part], *, shared: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A module's A `[inputs, rank]` and B `[rank, outputs]`."""
    there = [part for part in parts if f"{part.kernel}.lora_a" in arrays]
    firsts = [arrays[f"{part.kernel}.lora_a"][part.layer] for part in there]
    seconds = [arrays[f"{part.kernel}.lora_b"][part.layer] for part in there]
    if shared:
        return firsts[0], np.concatenate(seconds, axis=1)
    if len(parts) == 1:
        return firsts[0], seconds[0]
    rank = firsts[0].shape[1]
    second = np.zeros((rank * len(there), sum(part.shape[1] for part in parts)), np.float32)
    for number, (part, own) in enumerate(zip(there, seconds, strict=True)):
        assert part.columns is not None
        second[rank * number : rank * (number + 1), slice(*part.columns)] = own
    return np.concatenate(firsts, axis=1), second


def _short(chosen: Sequence[str], modules: Sequence[str]) -> list[str]:
    """The last words of names that mean these modules and no others; their names where none do."""
    for words in (1, 2, 3):
        ends = {".".join(name.split(".")[-words:]) for name in chosen}
        meant = {name for name in modules if ".".join(name.split(".")[-words:]) in ends}
        if meant == set(chosen):
            return sorted(ends)
    return list(chosen)


def _whole(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number
