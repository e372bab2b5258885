"""What the layouts of Hugging Face's folders have in common: where each parameter lies."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from instrux.interop.parameters import CheckpointFormatError
from instrux.interop.safetensors_files import StoredTensor
from instrux.models.families import ModelConfig

Settings = Mapping[str, Any]
"""The content of a `config.json`."""

Tensors = dict[str, StoredTensor]
"""The tensors of a folder by their names."""


class Place(NamedTuple):
    """Where a parameter, or one layer of it, lies.

    Attributes:
        tensor: name of the tensor.
        transposed: whether it is stored for `x @ W.T`.
        columns: first and last but one index of its last axis, where several parameters share it.
    """

    tensor: str
    transposed: bool = False
    columns: tuple[int, int] | None = None


PlaceOf = Callable[[str, int | None], Place]
"""The place of a parameter of ours, or of one layer of it."""


class StoredModel(NamedTuple):
    """A folder's model.

    Attributes:
        config: its sizes and settings.
        tensors: the tensors that count, without copies and what no model uses.
        place_of: where each parameter lies in them.
    """

    config: ModelConfig
    tensors: Tensors
    place_of: PlaceOf


class Layout(Protocol):
    """A module that knows one kind of folder."""

    def read(self, settings: Settings, file: Path, tensors: Tensors) -> StoredModel:
        """Tells the model of a folder from its settings (of `file`) and its tensors.

        Raises:
            CheckpointFormatError: the model is none that is computed here.
        """
        ...

    def settings(self, config: Any) -> dict[str, Any]:
        """The settings of a model that is written.

        Raises:
            InputError: transformers has no such model.
        """
        ...

    def place_of(self, config: Any) -> PlaceOf:
        """Where the parameters of a model go that is written."""
        ...


def drop_copy(tensors: Tensors, copy: str, original: str, *, mend: str) -> None:
    """Takes a tensor out that should hold the same bits as another.

    Raises:
        CheckpointFormatError: it does not.
    """
    other, kept = tensors.pop(copy, None), tensors.get(original)
    if other is not None and (kept is None or not other.same_bytes(kept)):
        raise CheckpointFormatError(
            f"{other.file}: {copy} differs from {original}, though config.json ties them; {mend}."
        )


def refuse_other_values(settings: Settings, file: Path, known: Mapping[str, tuple]) -> None:
    """Refuses a setting that changes what is computed.

    Args:
        settings: content of the file.
        file: where they stand.
        known: name -> values that are computed here; one that is absent is fine.

    Raises:
        CheckpointFormatError: another value.
    """
    for name, values in known.items():
        if name in settings and settings[name] not in values:
            raise CheckpointFormatError(
                f"{file}: {name} is {settings[name]!r}, and such a model is not computed here;"
                f" {' and '.join(repr(value) for value in values)} are read."
            )
