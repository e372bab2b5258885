"""Parameters of a run's checkpoint, written and read one at a time: for conversions.

The trainer saves and restores whole trees. A conversion of an 11-billion-parameter model has to do
with the memory of a few tensors, so here Orbax is given leaves that make their blocks while they
are written, and asked for one leaf at a time.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from instrux.training.checkpoint_checks import CheckpointError, first_line, silence_late_reads
from instrux.training.checkpoints import CHECKPOINTS

_CHUNK_BYTES = 64 << 20
_ITEM = "params"

Blocks = Iterable[tuple[int | None, np.ndarray]]
"""(index on axis 0, its part of the array), or one (None, the whole array)."""


class StreamedLeaf:
    """A float32 array that is made block by block while it is written.

    Attributes:
        shape: its shape.
        dtype: float32.
        size: number of elements.
        nbytes: number of bytes.
        ndim: number of axes.
        blocks: makes its blocks, in order.
    """

    def __init__(self, shape: tuple[int, ...], blocks: Callable[[], Blocks]) -> None:
        self.shape = shape
        self.dtype = np.dtype(np.float32)
        self.size = math.prod(shape)
        self.nbytes = self.size * self.dtype.itemsize
        self.ndim = len(shape)
        self.blocks = blocks


class _StreamingHandler(ocp.type_handlers.NumpyHandler):
    """Writes a leaf's blocks as they are made, one leaf after the other."""

    def __init__(self) -> None:
        super().__init__(deepcopy_host_arrays=False)
        self._one_at_a_time = asyncio.Lock()
        self._failed = False

    async def _open_and_write(self, value: Any, tspec: dict[str, Any], ts_context: Any) -> None:
        async with self._one_at_a_time:
            # The caller gives up at the first failure, and removes what was written.
            if self._failed:
                return
            try:
                await self._write_blocks(value, tspec, ts_context)
            except BaseException:
                self._failed = True
                raise

    async def _write_blocks(self, value: Any, tspec: dict[str, Any], ts_context: Any) -> None:
        blocks = iter(value.blocks())
        index, block = next(blocks)
        tspec["metadata"]["chunks"] = chunk_shape(value.shape, sliced=index is not None)
        spec = tensorstore.Spec(tspec)
        stored: Any = await tensorstore.open(spec, create=True, open=True, context=ts_context)
        await _write(stored, index, block)
        for index, block in blocks:
            await _write(stored, index, block)


async def _write(stored: Any, index: int | None, block: np.ndarray) -> None:
    target = stored if index is None else stored[index]
    await target.write(block, can_reference_source_data_indefinitely=True)


def chunk_shape(shape: tuple[int, ...], *, sliced: bool) -> list[int]:
    """Divisors of a float32 array's shape that make a chunk of at most 64 MiB.

    Args:
        shape: the array's shape.
        sliced: whether a chunk is to hold one index of axis 0 only.
    """
    chunks = [1, *shape[1:]] if sliced else list(shape)
    while math.prod(chunks) * 4 > _CHUNK_BYTES:
        axis = max(range(len(chunks)), key=lambda a: chunks[a])
        smaller = (size for size in range(chunks[axis] - 1, 0, -1) if shape[axis] % size == 0)
        chunks[axis] = next(smaller)
    return chunks


def write_params(model_dir: Path, tree: Any, *, step: int) -> None:
    """Writes a checkpoint of parameters alone; `load_params` reads it, and it cannot be resumed.

    Args:
        model_dir: the run's folder.
        tree: nested dictionaries of `StreamedLeaf`s.
        step: the checkpoint's step.

    Raises:
        CheckpointError: it cannot be written.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    registry = ocp.type_handlers.create_type_handler_registry((StreamedLeaf, _StreamingHandler()))
    handler = ocp.PyTreeCheckpointHandler(type_handler_registry=registry)
    manager = ocp.CheckpointManager(
        model_dir.absolute() / CHECKPOINTS,
        options=ocp.CheckpointManagerOptions(enable_async_checkpointing=False),
        item_handlers={_ITEM: handler},
    )
    try:
        args = ocp.args.Composite(params=ocp.args.PyTreeSave(tree))
        manager.save(step, args=args, force=True)
        manager.wait_until_finished()
    except OSError as error:
        raise CheckpointError(
            f"{model_dir}: the parameters could not be written ({error.strerror or error})."
        ) from error
    finally:
        manager.close()


class StreamedParams:
    """The parameters of one checkpoint, to be read one at a time.

    Attributes:
        folder: the step's folder.
        shapes: dotted name -> shape.
    """

    def __init__(self, model_dir: str | Path, step: int) -> None:
        """Reads names and shapes.

        Raises:
            CheckpointError: the checkpoint is damaged or holds no parameters.
        """
        logging.getLogger("absl").setLevel(logging.ERROR)
        self.folder = Path(model_dir).absolute() / CHECKPOINTS / str(step)
        self._name: str | None = None
        self._stored: Any = None
        self._held: np.ndarray | None = None
        reader = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
        try:
            stored = reader.metadata(self.folder / _ITEM)
            tree = getattr(stored.item_metadata, "tree", stored.item_metadata)
            self.shapes = dict(_shapes(tree, ()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(error) from error

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        """Reads one parameter, or one index of its axis 0.

        Where the checkpoint's chunks hold many indices, the parameter is read whole and kept
        until another is asked for, so ask for the indices of one after the other.

        Raises:
            CheckpointError: the checkpoint is damaged.
        """
        try:
            if self._name != name:
                self._held = None
                self._name, self._stored = name, self._open(name)
            if index is None:
                return self._stored.read().result()
            if self._stored.chunk_layout.read_chunk.shape[0] == 1:
                return self._stored[index].read().result()
            whole = self._stored.read().result() if self._held is None else self._held
            self._held = whole
            return whole[index]
        except (OSError, ValueError) as error:
            raise self._damaged(error) from error

    def _open(self, name: str) -> Any:
        """Opens an array where Orbax puts it: zarr in OCDBT, named by its path in the tree."""
        spec = {
            "driver": "zarr",
            "kvstore": {
                "driver": "ocdbt",
                "base": {"driver": "file", "path": f"{self.folder / _ITEM}/"},
                "path": name,
            },
            "fill_missing_data_reads": False,
        }
        return tensorstore.open(spec, open=True, read=True).result()

    def _damaged(self, error: Exception) -> CheckpointError:
        silence_late_reads()
        what = first_line(error)
        if isinstance(error, AttributeError | TypeError | KeyError):  # of Orbax's own making
            what = "its arrays' names and shapes cannot be read"
        return CheckpointError(
            f"{self.folder}: the checkpoint is damaged ({what}); take another step of the run."
        )


def _shapes(tree: Any, path: tuple[str, ...]) -> Iterable[tuple[str, tuple[int, ...]]]:
    if isinstance(tree, Mapping):
        for key, child in tree.items():
            yield from _shapes(child, (*path, str(key)))
    else:
        yield ".".join(path), tuple(tree.shape)
