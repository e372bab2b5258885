r"""Which parameters of a checkpoint become which of a model: for parts and for other names.

An assignment map is a list of pairs, as T5X has it. The first is a regular expression that must
match a parameter's name (its path with slashes) from start to end; the second says which parameter
of the checkpoint it gets, with `\1` for what the first group matched, or None for the model's own
random start. The first pair that matches counts; where none does, the name stays as it is.

    assignment_map = (
        (".*/lora/.*", None),
        (r"encoder/(.*)", r"text_encoder/\1"),
    )
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from instrux.errors import InputError, did_you_mean
from instrux.models.several_processes import placed
from instrux.progress import tell
from instrux.training.checkpoints import LoadedParams, resolved_step
from instrux.training.digests import named_arrays
from instrux.training.freezing import parameter_names
from instrux.training.streamed_params import StreamedParams

AssignmentMap = Sequence[tuple[str, str | None]]


def assigned(names: Sequence[str], assignment_map: AssignmentMap) -> dict[str, str | None]:
    """The name in the checkpoint of each parameter, None for those that are left as they are.

    Raises:
        InputError: an expression is none, or matches no parameter.
    """
    try:
        pairs = [(re.compile(pattern), source) for pattern, source in assignment_map]
        found = {name: _source(name, pairs) for name in names}
    except re.error as error:
        raise InputError(
            f"assignment_map: no regular expression or replacement ({error})."
        ) from error
    for pattern, _ in pairs:
        if not any(pattern.fullmatch(name) for name in names):
            raise InputError(
                f"assignment_map: {pattern.pattern!r} matches no parameter; names are such as"
                f" {', '.join(names[:5])}."
            )
    return found


def load_assigned(
    checkpoint: str, params: Mapping[str, Any], assignment_map: AssignmentMap
) -> LoadedParams:
    """Reads a run's parameters into those of a model, one at a time.

    Args:
        checkpoint: a run's folder, or one of its step folders.
        params: the model's parameters on their devices, which stay where nothing is assigned.
        assignment_map: see the module's text.

    Raises:
        InputError: a parameter that is asked for is absent or has another shape.
    """
    model_dir, step = resolved_step(checkpoint)
    stored = StreamedParams(model_dir, step)
    sources = assigned(parameter_names(params), assignment_map)
    arrays = named_arrays(params)
    read = {
        name: _read(stored, name, source, arrays[name])
        for name, source in sources.items()
        if source is not None
    }
    unused = stored.shapes.keys() - {_dotted(source) for source in sources.values() if source}
    tell(
        f"train: {len(read)} parameters assigned, {len(arrays) - len(read)} left as they start,"
        f" {len(unused)} of the checkpoint not used"
    )
    return LoadedParams(_replaced(params, read, ()), step)


def _source(name: str, pairs: Sequence[tuple[re.Pattern[str], str | None]]) -> str | None:
    for pattern, source in pairs:
        if match := pattern.fullmatch(name):
            return None if source is None else match.expand(source)
    return name


def _read(stored: StreamedParams, name: str, source: str, array: Any) -> Any:
    dotted = _dotted(source)
    if dotted not in stored.shapes:
        near = did_you_mean(dotted, stored.shapes)
        raise InputError(
            f"{stored.folder}: holds no {source!r} for {name!r}.{near} Give it a pair in"
            " assignment_map, with None to leave it as it starts."
        )
    if tuple(stored.shapes[dotted]) != tuple(array.shape):
        raise InputError(
            f"{stored.folder}: {source} has the shape {list(stored.shapes[dotted])}, and {name}"
            f" {list(array.shape)}; assign another, or None."
        )
    return placed(np.asarray(stored.read(dotted)).astype(array.dtype), array.sharding)


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def _replaced(params: Mapping[str, Any], read: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    return {
        key: _replaced(child, read, (*path, key))
        if isinstance(child, Mapping)
        else read.get("/".join((*path, key)), child)
        for key, child in params.items()
    }
