"""Checkpoints of a run: `<model_dir>/checkpoints/<step>/`, written by Orbax in the background.

A step folder has three items: `params`; `train` (optimiser state, step and random key); `position`
(JSON: batches read, seconds trained, what an online data source needs). It is written under a
temporary name and renamed when it is whole, so a folder with a number for a name is a whole one.
"""

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from instrux.data.selected_step import step_number
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.models.families import Model, model_of
from instrux.progress import tell
from instrux.training.checkpoint_checks import (
    CheckpointError,
    DamagedCheckpointError,
    check_can_write,
    check_digests,
    check_same_arrays,
    first_line,
    telling_damage,
)
from instrux.training.digests import Digest, digests
from instrux.training.keeping import KeepBest, preservation_policy
from instrux.training.position import Position
from instrux.training.run_folder import RunDescription
from instrux.training.train_step import TrainState

CHECKPOINTS = "checkpoints"
_DAMAGED = "damaged"
_SAVE_DTYPES = ("float32", "bfloat16")


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
        self,
        model_dir: str | Path,
        *,
        keep: int = 1,
        keep_every_steps: int | None = None,
        keep_best: KeepBest | None = None,
        save_dtype: str = "float32",
    ):
        """Opens the folder for writing and removes what an interrupted write left in it.

        Args:
            model_dir: the run's folder.
            keep: how many of the newest checkpoints stay.
            keep_every_steps: checkpoints whose step divides by it stay for ever, None for none.
            keep_best: which others stay for their metric, None for none.
            save_dtype: of the parameters on disk, `float32` or `bfloat16`.
        """
        if save_dtype not in _SAVE_DTYPES:
            raise InputError(f"save_dtype is {save_dtype!r}; choose one of {_SAVE_DTYPES}.")
        if keep < 1:
            raise InputError(f"keep_checkpoints is {keep}; a run keeps at least its newest, 1.")
        self.folder = Path(model_dir).absolute() / CHECKPOINTS
        self._keep_best, self._save_dtype = keep_best, save_dtype
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation_policy(keep, keep_every_steps, keep_best),
            best_fn=None if keep_best is None else keep_best.rank,
            cleanup_tmp_directories=True,
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
        with telling_damage(self.folder / str(step)):
            args = ocp.args.Composite(position=ocp.args.JsonRestore())
            return Position.of_json(self._manager.restore(step, args=args)["position"])

    def save(
        self, state: TrainState, position: Position, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Starts to write a checkpoint; returns once the arrays are copied off the device.

        Args:
            state: the state.
            position: where the run stands; its digests are made here.
            metrics: of the evaluation at this step, if there was one.

        Raises:
            CheckpointError: this one or the one before could not be written.
        """
        step = int(state.step)
        train = {
            "optimizer_state": state.optimizer_state,
            "step": state.step,
            "key": state.key,
        }
        params = jax.tree.map(self._narrowed, state.params)
        position = replace(position, digests=digests({"params": params, "train": train}))
        args = ocp.args.Composite(
            params=ocp.args.StandardSave(params),
            train=ocp.args.StandardSave(train),
            position=ocp.args.JsonSave(position.to_json()),
        )
        best = self._keep_best
        kept = metrics if best is not None and metrics and best.metric in metrics else None
        with self._telling_failures():
            self._manager.save(
                step, args=args, force=True, metrics=None if kept is None else dict(kept)
            )

    def _narrowed(self, leaf: jax.Array) -> jax.Array:
        return leaf.astype(self._save_dtype) if leaf.dtype == jnp.float32 else leaf

    def check(self) -> None:
        """Raises what went wrong in the background, if anything has.

        Raises:
            CheckpointError: the last checkpoint could not be written.
        """
        with self._telling_failures():
            self._manager.check_for_errors()

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
        step = _chosen_step(sorted(self._manager.all_steps()), self.folder, step)
        train = {
            "optimizer_state": abstract.optimizer_state,
            "step": abstract.step,
            "key": abstract.key,
        }
        check_same_arrays(self._manager, self.folder, step, "params", abstract.params)
        check_same_arrays(self._manager, self.folder, step, "train", train)
        args = ocp.args.Composite(
            params=ocp.args.StandardRestore(abstract.params),
            train=ocp.args.StandardRestore(train),
            position=ocp.args.JsonRestore(),
        )
        with telling_damage(self.folder / str(step)):
            read = self._manager.restore(step, args=args)
            position = Position.of_json(read["position"])
        arrays = {"params": read["params"], "train": read["train"]}
        check_digests(self.folder / str(step), arrays, position.digests)
        return Restored(TrainState(params=read["params"], **read["train"]), position)

    def restore_whole(
        self, abstract: TrainState, *, on_damaged: Literal["stop", "previous"] = "stop"
    ) -> Restored | None:
        """Reads the newest checkpoint, None where there is none.

        Args:
            abstract: as in `restore`.
            on_damaged: whether a damaged one ends the run, or is set aside for the one before.

        Raises:
            CheckpointError: as in `restore`; with `previous`, all of them are damaged.
        """
        if on_damaged not in ("stop", "previous"):
            raise InputError(
                f"on_damaged_checkpoint is {on_damaged!r}; choose 'stop' or 'previous'."
            )
        damaged = None
        while (step := self.latest_step()) is not None:
            try:
                return self.restore(abstract, step)
            except DamagedCheckpointError as error:
                # What one of several processes cannot read, the others may have read.
                if on_damaged == "stop" or jax.process_count() > 1:
                    raise
                damaged = error
                tell(f"train: {error}")
                self._set_aside(step)
        if damaged is not None:
            raise CheckpointError(
                f"{self.folder}: every checkpoint is damaged; they lie in"
                f" {self.folder.parent / _DAMAGED}. Start again in another MODEL_DIR."
            ) from damaged
        return None

    def _set_aside(self, step: int) -> None:
        aside = self.folder.parent / _DAMAGED / str(step)
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(exist_ok=True)
        (self.folder / str(step)).rename(aside)
        self._manager.reload()
        tell(f"train: moved the damaged checkpoint of step {step} to {aside}")

    @contextlib.contextmanager
    def _telling_failures(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{self.folder}: the checkpoint could not be written ({first_line(error)}); checkpoints"
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


def load_run(model_dir: str | Path, step: int | str | None = None) -> LoadedRun:
    """Loads the model of a run onto the default device.

    Args:
        model_dir: the run's folder.
        step: which checkpoint; None for the newest, `selected` for the one of `selected.json`.

    Raises:
        InputError: there is no run or no such checkpoint, or it does not fit the run's model.
    """
    description = RunDescription.read(model_dir)
    if description.base is not None:
        raise InputError(
            f"{model_dir}: holds adapters beside {description.base}; merge them first: instrux convert"
            f" --from instrux {model_dir} --to instrux OUT, or evaluate the run as it is."
        )
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
    model_dir, number = resolved_step(checkpoint, step)
    folder = model_dir / CHECKPOINTS
    manager = _manager(folder, ocp.CheckpointManagerOptions(read_only=True))
    try:
        check_same_arrays(manager, folder, number, "params", abstract_params)
        args = ocp.args.Composite(params=ocp.args.StandardRestore(abstract_params))
        with telling_damage(folder / str(number)):
            params = manager.restore(number, args=args)["params"]
        check_digests(
            folder / str(number), {"params": params}, _digests(manager, folder, number, "params")
        )
        return LoadedParams(params, number)
    finally:
        manager.close()


def resolved_step(checkpoint: str | Path, step: int | str | None = None) -> tuple[Path, int]:
    """The run's folder and the step that a checkpoint's path stands for.

    Args:
        checkpoint: a run's folder, or one of its step folders (`<run>/checkpoints/<step>`).
        step: as in `load_params`.

    Raises:
        InputError: there is no such checkpoint.
    """
    path = Path(checkpoint).absolute()
    if path.parent.name == CHECKPOINTS and path.name.isdigit():
        path, step = path.parent.parent, int(path.name)
    if not (path / CHECKPOINTS).is_dir():
        raise CheckpointError(
            f"{checkpoint}: no checkpoints here; give a MODEL_DIR that was trained."
        )
    return path, _chosen_step(all_steps(path), path / CHECKPOINTS, step_number(path, step))


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
        position = Position(0, digests=digests({"params": params}))
        args = ocp.args.Composite(
            params=ocp.args.StandardSave(params), position=ocp.args.JsonSave(position.to_json())
        )
        manager.save(step, args=args, force=True)
        manager.wait_until_finished()
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{model_dir}: the parameters could not be written ({first_line(error)})."
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


def _digests(
    manager: ocp.CheckpointManager, folder: Path, step: int, item: str
) -> dict[str, Digest]:
    """The digests of an item's arrays; none where parameters were saved alone."""
    if not (folder / str(step) / "position").is_dir():
        return {}
    with telling_damage(folder / str(step)):
        args = ocp.args.Composite(position=ocp.args.JsonRestore())
        stored = Position.of_json(manager.restore(step, args=args)["position"]).digests
    return {name: digest for name, digest in stored.items() if name.startswith(f"{item}/")}


def _chosen_step(steps: Sequence[int], folder: Path, step: int | None) -> int:
    if not steps:
        raise CheckpointError(f"{folder}: holds no complete checkpoint.")
    if step is None:
        return steps[-1]
    if step not in steps:
        raise CheckpointError(f"{folder}: no checkpoint of step {step}; there are {steps}.")
    return step


def _with_sharding(shapes: Any, sharding: Any) -> Any:
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
    )
