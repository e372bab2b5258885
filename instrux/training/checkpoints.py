"""Checkpoints of a run: `<model_dir>/checkpoints/<step>/`, written by Orbax in the background.

A step folder has three items: `params`; `train` (optimiser state, step and random key); `position`
(JSON: batches read, seconds trained, what an online data source needs). It is written under a
temporary name and renamed when it is whole, so a folder with a number for a name is a whole one.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from instrux.data.selected_step import step_number
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.models.families import Model, model_of
from instrux.training.run_folder import RunDescription
from instrux.training.train_step import TrainState

CHECKPOINTS = "checkpoints"
_GIB = 2**30


class CheckpointError(InputError):
    """A checkpoint cannot be written, found or read as what it should be."""


@dataclass(frozen=True)
class Position:
    """Where a run stands beside its arrays.

    Attributes:
        batches_read: batches of the training data that its updates consumed.
        seconds: time spent training, over all sessions.
        source: what an online data source needs to go on, JSON; empty for a packed set.
    """

    batches_read: int
    seconds: float = 0.0
    source: dict[str, Any] = field(default_factory=dict)


class Restored(NamedTuple):
    """A checkpoint read back."""

    state: TrainState
    position: Position


class LoadedRun(NamedTuple):
    """A run's model as evaluation and conversion need it.

    Attributes:
        model: the model.
        params: its parameters, float32.
        vocabulary: the vocabulary of its tokens.
        step: the step of the checkpoint.
    """

    model: Model
    params: Any
    vocabulary: VocabularySpec
    step: int


class Checkpoints:
    """Writes and reads the checkpoints of one run."""

    def __init__(
        self, model_dir: str | Path, *, keep: int = 1, keep_every_steps: int | None = None
    ):
        """Opens the folder for writing and removes what an interrupted write left in it.

        Args:
            model_dir: the run's folder.
            keep: how many of the newest checkpoints stay.
            keep_every_steps: checkpoints whose step divides by it stay for ever, None for none.
        """
        if keep < 1:
            raise InputError(f"keep_checkpoints is {keep}; a run keeps at least its newest, 1.")
        self.folder = Path(model_dir).absolute() / CHECKPOINTS
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, keep_period=keep_every_steps, cleanup_tmp_directories=True
        )
        self._manager = _manager(self.folder, options)

    def latest_step(self) -> int | None:
        """The newest whole checkpoint, None where there is none."""
        return self._manager.latest_step()

    def position(self, step: int) -> Position:
        """Reads where the run stood at a checkpoint, without its arrays.

        Raises:
            CheckpointError: the checkpoint is damaged or not of a run.
        """
        with _telling_damage(self.folder / str(step)):
            args = ocp.args.Composite(position=ocp.args.JsonRestore())
            return Position(**self._manager.restore(step, args=args)["position"])

    def save(self, state: TrainState, position: Position) -> None:
        """Starts to write a checkpoint; returns once the arrays are copied off the device.

        Raises:
            CheckpointError: this one or the one before could not be written.
        """
        step = int(state.step)
        train = {
            "optimizer_state": state.optimizer_state,
            "step": state.step,
            "key": state.key,
        }
        args = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            train=ocp.args.StandardSave(train),
            position=ocp.args.JsonSave(asdict(position)),
        )
        with self._telling_failures():
            self._manager.save(step, args=args, force=True)

    def wait(self) -> None:
        """Blocks until what was started is on disk."""
        with self._telling_failures():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def close(self) -> None:
        """Waits, then releases Orbax's threads."""
        self.wait()
        self._manager.close()

    def restore(self, abstract: TrainState, step: int | None = None) -> Restored:
        """Reads a checkpoint back onto the devices.

        Args:
            abstract: shapes, dtypes and shardings of the state, as `jax.ShapeDtypeStruct`s.
            step: which checkpoint; None for the newest.

        Raises:
            CheckpointError: there is none, it is of another model or optimiser, or it is damaged.
        """
        step = _chosen_step(self._manager, self.folder, step)
        train = {
            "optimizer_state": abstract.optimizer_state,
            "step": abstract.step,
            "key": abstract.key,
        }
        _check_same_arrays(self._manager, self.folder, step, "params", abstract.params)
        _check_same_arrays(self._manager, self.folder, step, "train", train)
        args = ocp.args.Composite(
            params=ocp.args.StandardRestore(abstract.params),
            train=ocp.args.StandardRestore(train),
            position=ocp.args.JsonRestore(),
        )
        with _telling_damage(self.folder / str(step)):
            read = self._manager.restore(step, args=args)
            position = Position(**read["position"])
        return Restored(TrainState(params=read["params"], **read["train"]), position)

    @contextlib.contextmanager
    def _telling_failures(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{self.folder}: the checkpoint could not be written ({_first_line(error)}); checkpoints"
                " already there are whole. Free the disk or choose another MODEL_DIR."
            ) from error


def latest_step(model_dir: str | Path) -> int | None:
    """The newest complete checkpoint of a run's folder, None where there is none; reads no file."""
    return max(all_steps(model_dir), default=None)


def all_steps(model_dir: str | Path) -> list[int]:
    """The steps of all complete checkpoints of a run's folder, in order; reads no file."""
    folder = Path(model_dir) / CHECKPOINTS
    if not folder.is_dir():
        return []
    return sorted(int(step.name) for step in folder.iterdir() if step.name.isdigit())


def check_can_write(model_dir: Path, state: Any) -> None:
    """Checks, before time is spent on training, that checkpoints of `state` can be written.

    Args:
        model_dir: the run's folder; it is made.
        state: a tree of arrays or of their shapes.

    Raises:
        CheckpointError: the folder cannot be made or written, or the disk is too full for one
            checkpoint beside the last.
    """
    probe = model_dir / ".write_probe"
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


def load_run(model_dir: str | Path, step: int | str | None = None) -> LoadedRun:
    """Loads the model of a run onto the default device.

    Args:
        model_dir: the run's folder.
        step: which checkpoint; None for the newest, `selected` for the one of `selected.json`.

    Raises:
        InputError: there is no run or no such checkpoint, or it does not fit the run's model.
    """
    description = RunDescription.read(model_dir)
    model = model_of(description.model)
    sharding = SingleDeviceSharding(jax.devices()[0])
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    loaded = load_params(model_dir, _with_sharding(shapes, sharding), step=step)
    return LoadedRun(model, loaded.params, description.vocabulary, loaded.step)


class LoadedParams(NamedTuple):
    """Parameters read from a checkpoint, and its step."""

    params: Any
    step: int


def load_params(
    checkpoint: str | Path, abstract_params: Any, step: int | str | None = None
) -> LoadedParams:
    """Reads the parameters alone.

    Args:
        checkpoint: a run's folder, or one of its step folders (`<run>/checkpoints/<step>`).
        abstract_params: shapes and shardings, as `jax.ShapeDtypeStruct`s.
        step: which checkpoint of a run's folder; None for the newest, `selected` for the one of
            `selected.json`.

    Raises:
        InputError: there is none, it is of another model, or it is damaged.
    """
    path = Path(checkpoint).absolute()
    if path.parent.name == CHECKPOINTS and path.name.isdigit():
        folder, number = path.parent, int(path.name)
    else:
        folder, number = path / CHECKPOINTS, step_number(path, step)
    if not folder.is_dir():
        raise CheckpointError(
            f"{checkpoint}: no checkpoints here; give a MODEL_DIR that was trained."
        )
    manager = _manager(folder, ocp.CheckpointManagerOptions(read_only=True))
    try:
        number = _chosen_step(manager, folder, number)
        _check_same_arrays(manager, folder, number, "params", abstract_params)
        args = ocp.args.Composite(params=ocp.args.StandardRestore(abstract_params))
        with _telling_damage(folder / str(number)):
            return LoadedParams(manager.restore(number, args=args)["params"], number)
    finally:
        manager.close()


def save_run(model_dir: str | Path, description: RunDescription, params: Any, *, step: int) -> None:
    """Writes a run's folder that holds parameters only, for converted or averaged models.

    `load_run` reads it, and `initial_checkpoint_path` may name it; it cannot be resumed.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    model_dir = Path(model_dir)
    check_can_write(model_dir, params)
    description.write(model_dir)
    manager = _manager(model_dir.absolute() / CHECKPOINTS, ocp.CheckpointManagerOptions())
    try:
        manager.save(
            step, args=ocp.args.Composite(params=ocp.args.StandardSave(params)), force=True
        )
        manager.wait_until_finished()
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{model_dir}: the parameters could not be written ({_first_line(error)})."
        ) from error
    finally:
        manager.close()


def _manager(folder: Path, options: ocp.CheckpointManagerOptions) -> ocp.CheckpointManager:
    # Orbax logs every file at INFO and warns about what is as it should be here.
    logging.getLogger("absl").setLevel(logging.ERROR)
    handlers = {
        "params": ocp.StandardCheckpointHandler(),
        "train": ocp.StandardCheckpointHandler(),
        "position": ocp.JsonCheckpointHandler(),
    }
    try:
        return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be opened ({error.strerror or error}).") from error


def _chosen_step(manager: ocp.CheckpointManager, folder: Path, step: int | None) -> int:
    steps = sorted(manager.all_steps())
    if not steps:
        raise CheckpointError(f"{folder}: holds no complete checkpoint.")
    if step is None:
        return steps[-1]
    if step not in steps:
        raise CheckpointError(f"{folder}: no checkpoint of step {step}; there are {steps}.")
    return step


def _check_same_arrays(
    manager: ocp.CheckpointManager, folder: Path, step: int, item: str, wanted: Any
) -> None:
    """Compares names and shapes before any array is read."""
    with _telling_damage(folder / str(step)):
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
    return {_path_name(path): tuple(leaf.shape) for path, leaf in leaves if hasattr(leaf, "shape")}


def _path_name(path: tuple[Any, ...]) -> str:
    # A field of a named tuple is stored as a key of a dictionary, an entry of a tuple as an index.
    return "/".join(
        str(next(getattr(key, name) for name in ("key", "name", "idx") if hasattr(key, name)))
        for key in path
    )


def _worded(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"


@contextlib.contextmanager
def _telling_damage(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{folder}: the checkpoint is damaged ({_first_line(error)}); remove this folder to go back"
            " to the one before."
        ) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def _with_sharding(shapes: Any, sharding: Any) -> Any:
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
    )
