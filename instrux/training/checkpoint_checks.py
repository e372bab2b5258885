"""What a checkpoint must be before a run goes on from it: of the same arrays, and undamaged."""

import contextlib
import functools
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from instrux.errors import InputError
from instrux.training.digests import Digest, changed, path_name

_GIB = 2**30


class CheckpointError(InputError):
    """A checkpoint cannot be written, found or read as what it should be."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint does not hold what was saved."""


def check_can_write(model_dir: Path, state: Any) -> None:
    """Checks, before time is spent on training, that checkpoints of `state` can be written.

    Args:
        model_dir: the run's folder; it is made.
        state: a tree of arrays or of their shapes.

    Raises:
        CheckpointError: the folder cannot be made or written, or the disk is too full for one
            checkpoint beside the last.
    """
    probe = model_dir / f".write_probe.{jax.process_index()}"
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"0" * 4096)
        probe.unlink()
        free = shutil.disk_usage(model_dir).free
    except OSError as error:
        raise CheckpointError(
            f"{model_dir}: checkpoints cannot be written there ({error.strerror or error}); choose"
            " another MODEL_DIR or mend its permissions."
        ) from error
    needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    if free < needed:
        raise CheckpointError(
            f"{model_dir}: a checkpoint takes {needed / _GIB:.2f} GiB and the disk has"
            f" {free / _GIB:.2f} GiB left; free it or choose another MODEL_DIR."
        )


def check_digests(folder: Path, tree: Any, stored: Mapping[str, Digest]) -> None:
    """Compares arrays that were read with the digests that were saved beside them.

    Raises:
        DamagedCheckpointError: an array is another one.
    """
    if (name := changed(tree, stored)) is not None:
        raise _damaged(folder, f"{name} is not what was saved")


def check_same_arrays(
    manager: ocp.CheckpointManager, folder: Path, step: int, item: str, wanted: Any
) -> None:
    """Compares names and shapes before any array is read."""
    with telling_damage(folder / str(step)):
        stored_items = manager.item_metadata(step)
        stored_tree = stored_items[item] if item in stored_items else None
    if stored_tree is None:
        raise CheckpointError(
            f"{folder / str(step)}: holds no {item!r}, so it cannot be resumed; name it in"
            " INITIAL_CHECKPOINT_PATH to start from its parameters."
        )
    stored, expected = _shapes(stored_tree.tree), _shapes(wanted)
    for name in sorted(stored.keys() | expected.keys()):
        here, there = expected.get(name), stored.get(name)
        if here != there:
            raise CheckpointError(
                f"{folder / str(step)}: {item}/{name} is {_worded(there)} in the checkpoint and"
                f" {_worded(here)} in this run; the model, the optimiser or what is frozen differs."
            )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
    return {path_name(path): tuple(leaf.shape) for path, leaf in leaves if hasattr(leaf, "shape")}


def _worded(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"


@contextlib.contextmanager
def telling_damage(folder: Path) -> Iterator[None]:
    """Tells what goes wrong in the block as damage of the checkpoint in this folder."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # what a changed byte leads to is any error of Orbax
        silence_late_reads()
        raise _damaged(folder, first_line(error)) from error


def _damaged(folder: Path, what: str) -> DamagedCheckpointError:
    return DamagedCheckpointError(
        f"{folder}: the checkpoint is damaged ({what}); remove this folder to go back to the one"
        " before, or set on_damaged_checkpoint='previous'."
    )


@functools.cache
def silence_late_reads() -> None:
    """Keeps reads that Orbax had begun from telling of themselves once one of them has failed.

    They end after its event loop was closed, and each would print a traceback that says so.
    """
    hook = sys.unraisablehook

    def tell(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = tell


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
