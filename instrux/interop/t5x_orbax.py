"""The arrays of a checkpoint that T5X saved through Orbax, as it does today.

`checkpoint_<step>/state/_METADATA` (JSON) names the arrays of the tree `{state: {step, …}, target:
parameters}`; their bytes are zarr arrays of the same names joined by dots, in one OCDBT store
(`state/manifest.ocdbt`) or in a folder each.
"""

import json
from pathlib import Path
from typing import Any

import tensorstore

from instrux.interop.parameters import CheckpointFormatError
from instrux.interop.t5x_arrays import StoredArray, ZarrArray

INDEX = "state/_METADATA"
_MANIFEST = "manifest.ocdbt"
_LARGEST_INDEX = 1 << 26


def is_index(file: Path) -> bool:
    """Whether an index is Orbax's."""
    return file.name == Path(INDEX).name


def read_arrays(file: Path) -> tuple[dict[str, StoredArray], int]:
    """Finds the parameters of a checkpoint, by path joined by `/`, and its step.

    Raises:
        CheckpointFormatError: the index is no such one, or an array is absent or damaged.
    """
    parameters: dict[str, StoredArray] = {}
    step = 0
    for keys in _names(file):
        if keys == ("state", "step"):
            stored = _array(keys, file).read()
            step = int(stored) if stored.shape == () and stored.dtype.kind in "iu" else 0
        elif keys[0] == "target":
            parameters["/".join(keys[1:])] = _array(keys, file)
    if not parameters:
        raise CheckpointFormatError(
            f"{file}: holds no `target`, which is where T5X keeps a model's parameters."
        )
    return parameters, step


def _names(file: Path) -> list[tuple[str, ...]]:
    if file.stat().st_size > _LARGEST_INDEX:
        raise CheckpointFormatError(f"{file}: too large for an index of Orbax.")
    try:
        content = json.loads(file.read_bytes())
        entries = content["tree_metadata"].values()
        names = [tuple(part["key"] for part in entry["key_metadata"]) for entry in entries]
        zarr3 = content.get("use_zarr3", False)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointFormatError(f"{file}: no index that Orbax would write.") from error
    if zarr3:
        raise CheckpointFormatError(f"{file}: holds zarr 3 arrays; T5X writes zarr 2, as is read.")
    for name in names:
        if not name or not all(isinstance(part, str) and _is_plain(part) for part in name):
            raise CheckpointFormatError(f"{file}: {str(name)[:80]} is no name of T5X's; refused.")
    return names


def _is_plain(part: str) -> bool:
    return part.replace("_", "").isalnum() and part.isascii()


def _array(keys: tuple[str, ...], file: Path) -> ZarrArray:
    """An array whose shape is read where it is stored: the index has that of one writer's part."""
    name, folder = ".".join(keys), file.parent
    store: dict[str, Any] = {"driver": "file", "path": f"{folder / name}/"}
    if (folder / _MANIFEST).is_file():
        base = {"driver": "file", "path": f"{folder}/"}
        store = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
    spec = {"driver": "zarr", "kvstore": store}
    try:
        shape = tensorstore.open(spec, open=True, read=True).result().shape
    except (ValueError, OSError) as error:
        raise CheckpointFormatError(
            f"{folder}: {name} cannot be read ({str(error).splitlines()[0][:200]}); copy the"
            " checkpoint again."
        ) from error
    return ZarrArray(name, folder, tuple(shape), store)
