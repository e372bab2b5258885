"""`train`: fits a model to a mixture, from a packed set or straight from SeqIO.

The same call goes on where an earlier one stopped, and does nothing where the run is complete.
Imports no TensorFlow as long as the data is packed.
"""

import contextlib
import fcntl
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import gin
import jax
import optax
from jax.sharding import Mesh

from instrux.data.packed import PackSettings
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.interop.parameters import count_tensors, load
from instrux.models.families import ModelConfig, model_of
from instrux.models.host_memory import keep_freed_memory
from instrux.progress import progress, tell
from instrux.training import compilation_cache
from instrux.training.assignment import load_assigned
from instrux.training.checkpoints import (
    Checkpoints,
    LoadedParams,
    Position,
    check_can_write,
    latest_step,
    load_params,
)
from instrux.training.flops import peak_flops_per_second, step_flops
from instrux.training.freezing import Freezing
from instrux.training.keeping import KeepBest
from instrux.training.loop import OnNonfinite, Session, TrainResult
from instrux.training.loop_settings import LoopSettings
from instrux.training.mesh import MeshShape, make_mesh
from instrux.training.optimizers import Adafactor, Optimizer
from instrux.training.processes import join_cluster
from instrux.training.profiling import ProfileSteps
from instrux.training.program import Program
from instrux.training.run_folder import RunDescription
from instrux.training.schedules import constant
from instrux.training.spikes import TELL_SPIKES, Spikes
from instrux.training.trackers import Tracker, TrackerSettings
from instrux.training.train_step import StepSettings, TrainState
from launch import foreign, run_lineage, training_data
from launch.adapters import (
    FirstAdapters,
    PromptInit,
    abstract_base,
    base_path,
    trained_axes,
)

SIGTERM_STATUS = 128 + signal.SIGTERM


def train(
    *,
    model_dir: str,
    data_dir: str,
    model: ModelConfig,
    batch_size: int,
    train_steps: int,
    pack: PackSettings | None = None,
    mixture: str | None = None,
    task_feature_lengths: Mapping[str, int] | None = None,
    split: str = "train",
    pack_online: bool = True,
    use_cached: bool = False,
    module_imports: Sequence[str] = (),
    initial_checkpoint_path: str | None = None,
    assignment_map: Sequence[tuple[str, str | None]] = (),
    optimizer: Optimizer | None = None,
    learning_rate: optax.Schedule | None = None,
    trainable: str | Sequence[str] | None = None,
    frozen: str | Sequence[str] = (),
    prompt_init: PromptInit | None = None,
    mesh: MeshShape | None = None,
    microbatches: int = 1,
    z_loss: float = 1e-4,
    label_smoothing: float = 0.0,
    on_nonfinite: OnNonfinite = "stop",
    spikes: Spikes | None = TELL_SPIKES,
    max_skipped_steps: int = 20,
    max_roll_backs: int = 3,
    seed: int = 0,
    checkpoint_every_steps: int = 1000,
    keep_checkpoints: int = 1,
    keep_every_steps: int | None = None,
    keep_best: KeepBest | None = None,
    save_dtype: str = "float32",
    on_damaged_checkpoint: Literal["stop", "previous"] = "stop",
    log_every_steps: int = 10,
    task_loss_every_steps: int | None = None,
    eval_pack: PackSettings | Sequence[PackSettings] | None = None,
    eval_every_steps: int | None = None,
    eval_batches: int | None = 10,
    eval_by_task: bool = False,
    profile: ProfileSteps | None = None,
    trackers: Sequence[TrackerSettings] = (),
    max_seconds: float | None = None,
    peak_flops: float | None = None,
    tensorboard: bool = True,
    compile_cache: str | bool = True,
    distributed: bool = False,
) -> TrainResult:
    """Trains a run to `train_steps`, or goes on with it.

    Args:
        model_dir: the run's folder.
        data_dir: folder with `packed/`, `rendered/` and `cache/`.
        model: sizes and settings of the model, a `T5Config` or a `DecoderConfig`.
        batch_size: rows of a step over all devices.
        train_steps: updates of the whole run.
        pack: the packed set to train on; what `instrux pack` was given.
        mixture: in place of `pack`, a SeqIO mixture or task to train on directly.
        task_feature_lengths: with `mixture`, tokens a row: `{"inputs": 512, "targets": 128}`.
        split: with `mixture`, the split to read.
        pack_online: with `mixture`, whether a row holds several examples.
        use_cached: with `mixture`, whether to read the SeqIO cache in `data_dir`.
        module_imports: with `mixture`, modules that register it.
        initial_checkpoint_path: a run's folder or one of its step folders, a T5X checkpoint or a
            Hugging Face folder (docs/checkpoints.md), whose parameters a new
            run starts from, with a fresh optimiser at step 0; ignored once the run has a
            checkpoint of its own.
        assignment_map: with an `initial_checkpoint_path` of Instrux, which of its parameters become
            which: see `instrux.training.assignment`.
        optimizer: its description; None for Adafactor as T5X has it.
        learning_rate: the schedule; None for a constant 1e-3 (T0).
        trainable: regular expressions of the parameters to train, such as `decoder/.*`; None for
            all. What is not trained gets no gradient and no optimiser state.
        frozen: regular expressions of parameters that are not trained though `trainable` has them.
        prompt_init: how the soft prompt of a model with one begins; None for uniformly random.
        mesh: sizes of the mesh's axes; None for all devices on `data`.
        microbatches: parts of a batch computed one after the other, to save memory.
        z_loss: see `StepSettings`.
        label_smoothing: see `StepSettings`.
        on_nonfinite: see `StepSettings`.
        spikes: which losses are out of line and what is done then; None does not look.
        max_skipped_steps: see `LoopSettings`.
        max_roll_backs: see `LoopSettings`.
        seed: of parameters, dropout and the order of the data.
        checkpoint_every_steps: see `LoopSettings`.
        keep_checkpoints: see `LoopSettings`.
        keep_every_steps: see `LoopSettings`.
        keep_best: which checkpoints stay for their metric; needs evaluations at checkpoints.
        save_dtype: of the parameters in checkpoints; `bfloat16` halves them, and a run that goes
            on from one is not the same to the bit.
        on_damaged_checkpoint: whether a damaged checkpoint ends the start, or is set aside for the
            `previous` one.
        log_every_steps: see `LoopSettings`.
        task_loss_every_steps: see `LoopSettings`; with a packed set.
        eval_pack: the packed set or sets whose loss is measured during training.
        eval_every_steps: steps between such evaluations.
        eval_batches: batches of each set; None for all its rows, each once.
        eval_by_task: see `LoopSettings`.
        profile: steps to profile; see `instrux.training.profiling`.
        trackers: services that get the metrics too, such as `trackers.Wandb`.
        max_seconds: training time after which the run is complete though it made fewer steps.
        peak_flops: FLOP/s of one device, for utilisation; None for the data sheet's bfloat16
            figure, or on a CPU the rate of a short matrix product.
        tensorboard: whether to write TensorBoard events.
        compile_cache: False for none, True for the cache folder, or a folder.
        distributed: whether this is one of several processes; see `instrux.training.processes`.

    Returns:
        How the session ended.

    Raises:
        InputError: the data, the model, the mesh or a checkpoint do not fit one another.
        SystemExit: status 143 after SIGTERM, once a checkpoint was written.
        KeyboardInterrupt: after Ctrl-C, likewise.
    """
    folder = Path(model_dir)
    done = latest_step(folder)
    if done is not None and done >= train_steps:
        tell(f"train {model_dir}: complete at step {done:,}, skipped")
        return TrainResult(done, "train_steps", seconds=0.0)
    settings = LoopSettings(
        train_steps=train_steps,
        seed=seed,
        checkpoint_every_steps=checkpoint_every_steps,
        keep_checkpoints=keep_checkpoints,
        keep_every_steps=keep_every_steps,
        log_every_steps=log_every_steps,
        eval_every_steps=eval_every_steps,
        eval_batches=1 if eval_batches is None else eval_batches,
        max_seconds=max_seconds,
        max_skipped_steps=max_skipped_steps,
        max_roll_backs=max_roll_backs,
        spikes=spikes,
        task_loss_every_steps=task_loss_every_steps,
        eval_by_task=eval_by_task,
        profile=profile,
        tensorboard=tensorboard,
    )
    _check_keep_best(keep_best, settings, has_eval=eval_pack is not None)
    step_settings = StepSettings(
        microbatches=microbatches,
        z_loss=z_loss,
        label_smoothing=label_smoothing,
        on_nonfinite=on_nonfinite,
        freezing=Freezing.of(trainable, frozen),
    )
    _prepare_jax(compile_cache, distributed)
    if pack is not None and mixture in (None, pack.mixture):
        data = training_data.packed(pack, data_dir)
    elif mixture is not None and pack is None:
        data = training_data.online(
            mixture,
            data_dir=data_dir,
            split=split,
            task_feature_lengths=task_feature_lengths,
            pack_online=pack_online,
            use_cached=use_cached,
            module_imports=module_imports,
        )
    else:
        raise InputError(
            f"train: mixture is {mixture!r} and pack is {pack}; give `pack` for a packed set, or"
            " `mixture` alone to train on SeqIO's batches."
        )
    if task_loss_every_steps is not None and not data.tasks:
        raise InputError(
            f"train: {mixture} read online does not tell its examples' tasks; pack it, or leave out"
            " task_loss_every_steps."
        )
    data = training_data.for_model(data, model)
    whole = batch_size if eval_batches is None else None
    eval_sets = training_data.eval_sets(eval_pack, data_dir, model, whole_in_batches_of=whole)
    base = base_path(model, initial_checkpoint_path)
    description = _description(model, data, base)
    devices = make_mesh(MeshShape() if mesh is None else mesh)
    schedule = constant() if learning_rate is None else learning_rate
    described = Adafactor() if optimizer is None else optimizer
    base_params = None
    if base is not None:
        base_params = _initial_params(abstract_base(model, devices), base, description)[0]
    axes = trained_axes(model)
    program = Program(
        model_of(model),
        described.build(schedule, step_settings.freezing.trained(axes)),
        schedule,
        mesh=devices,
        batch_size=batch_size,
        settings=step_settings,
        seed=seed,
        base=base_params,
    )
    with _only_writer(folder):
        check_can_write(folder, program.abstract_state)
        if (folder / "model.json").exists():
            description.check_continues(RunDescription.read(folder), folder)
        checkpoints = Checkpoints(
            folder,
            keep=keep_checkpoints,
            keep_every_steps=keep_every_steps,
            keep_best=keep_best,
            save_dtype=save_dtype,
        )
        restored = checkpoints.restore_whole(
            program.abstract_state, on_damaged=on_damaged_checkpoint
        )
        if restored is not None:
            step, spent = int(restored.state.step), restored.position.seconds
            if max_seconds is not None and spent >= max_seconds:
                tell(f"train {model_dir}: complete after {spent:.0f} s at step {step:,}, skipped")
                checkpoints.close()
                return TrainResult(step, "max_seconds", seconds=spent)
            tell(f"train: going on from the checkpoint of step {step:,}")
            state, position = restored
        elif base_params is not None:
            first = FirstAdapters(base_params, prompt_init, description.vocabulary, seed)
            state, position = first.state(program), Position(0)
        else:
            state = _first_state(program, initial_checkpoint_path, assignment_map, description)
            position = Position(0)
        if jax.process_index() == 0:
            (folder / run_lineage.FILE_NAME).unlink(missing_ok=True)  # true again at the end
            description.write(folder)
            (folder / "config.gin").write_text(gin.operative_config_str(), encoding="utf-8")
        session = Session(
            program,
            settings,
            checkpoints,
            model_dir=folder,
            state=state,
            position=position,
            on_nonfinite=on_nonfinite,
            flops=step_flops(
                model, inputs_length=data.inputs_length, targets_length=data.targets_length
            ),
            peak_flops_per_second=_total_peak(devices, peak_flops),
            eval_sets=eval_sets,
            tasks=data.tasks,
            trackers=_opened(trackers, folder),
        )
        del state, restored
        result = session.run(data.source)
        if jax.process_index() == 0 and result.signal is None:
            arguments = {
                "data_dir": data_dir,
                "batch_size": batch_size,
                "train_steps": train_steps,
                "seed": seed,
                "mixture": mixture if pack is None else pack.mixture,
            }
            run_lineage.write(
                folder,
                pack=None if pack is None else pack.folder(data_dir),
                initial_checkpoint_path=initial_checkpoint_path,
                arguments=arguments,
                stopped=result.stopped,
            )
    if result.signal == signal.SIGTERM:
        raise SystemExit(SIGTERM_STATUS)
    if result.signal is not None:
        raise KeyboardInterrupt
    return result


def _prepare_jax(compile_cache: str | bool, distributed: bool) -> None:
    if compile_cache is not False:
        compilation_cache.enable(None if compile_cache is True else compile_cache)
    if distributed:
        join_cluster()
    if jax.default_backend() == "cpu":
        keep_freed_memory()


def _description(
    model: ModelConfig, data: training_data.TrainingData, base: str | None
) -> RunDescription:
    if model.vocab_size < data.vocab_size:
        raise InputError(
            f"{type(model).__name__}.vocab_size is {model.vocab_size}, but {data.vocabulary} has ids up to"
            f" {data.vocab_size - 1}; set it to {data.vocab_size} or more."
        )
    return RunDescription.of(
        model,
        data.vocabulary,
        inputs_length=data.inputs_length,
        inputs_eos=data.inputs_eos,
        targets_length=data.targets_length,
        base=base,
    )


def _first_state(
    program: Program,
    initial_checkpoint_path: str | None,
    assignment_map: Sequence[tuple[str, str | None]],
    description: RunDescription,
) -> TrainState:
    """The state at step 0: with given parameters, or random ones."""
    if initial_checkpoint_path is None:
        if assignment_map:
            raise InputError("train: assignment_map goes with an initial_checkpoint_path.")
        return program.init()
    if assignment_map:
        _check_same_vocabulary(initial_checkpoint_path, description)
        fresh = program.init().params
        loaded = load_assigned(initial_checkpoint_path, fresh, assignment_map)
    else:
        loaded = _initial_params(
            program.abstract_state.params, initial_checkpoint_path, description
        )
    tell(f"train: parameters of {initial_checkpoint_path}, step {loaded.step:,}")
    return program.start_from(loaded.params)


def _initial_params(abstract_params: Any, path: str, description: RunDescription) -> LoadedParams:
    if foreign.kind_of(path) == foreign.OURS:
        _check_same_vocabulary(path, description)
        return load_params(path, abstract_params)
    weights = foreign.open_weights(path)
    vocabulary = foreign.vocabulary_of(weights)
    weights = foreign.between_ids(weights, description.vocabulary)
    foreign.check_same_model(weights, description.model)
    if vocabulary is not None and vocabulary.digest() != description.vocabulary_digest:
        raise _other_vocabulary(path, vocabulary, description)
    with progress("train: reading", total=count_tensors(weights.config), unit="tensors") as shown:
        params = load(weights, abstract_params, shown.update)
    return LoadedParams(params, weights.step)


def _check_keep_best(keep_best: KeepBest | None, settings: LoopSettings, *, has_eval: bool) -> None:
    if keep_best is None:
        return
    every = settings.eval_every_steps
    if not has_eval or every is None or settings.checkpoint_every_steps % every:
        raise InputError(
            "train: keep_best needs eval_pack, and an eval_every_steps that divides"
            f" checkpoint_every_steps ({settings.checkpoint_every_steps})."
        )


def _opened(trackers: Sequence[TrackerSettings], folder: Path) -> list[Tracker]:
    """The trackers of the first process; they get the configuration that took effect."""
    if jax.process_index() != 0:
        return []
    config = {"gin": gin.operative_config_str()}
    return [tracker.open(folder, config) for tracker in trackers]


def _check_same_vocabulary(initial_checkpoint_path: str, description: RunDescription) -> None:
    path = Path(initial_checkpoint_path)
    run = path if (path / "model.json").exists() else path.parent.parent
    if not (run / "model.json").exists():
        return
    earlier = RunDescription.read(run)
    if earlier.vocabulary_digest != description.vocabulary_digest:
        raise _other_vocabulary(initial_checkpoint_path, earlier.vocabulary, description)


def _other_vocabulary(
    path: str, vocabulary: VocabularySpec, description: RunDescription
) -> InputError:
    return InputError(
        f"{path}: trained with the vocabulary {vocabulary}, whose content differs from"
        f" {description.vocabulary}; pack again with the former."
    )


def _total_peak(mesh: Mesh, peak_flops: float | None) -> float | None:
    if peak_flops is None:
        peak_flops = peak_flops_per_second(mesh.devices.flat[0])
    return None if peak_flops is None else peak_flops * mesh.size


@contextlib.contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Holds the run's folder against a second training process on this machine."""
    if jax.process_index() != 0:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another MODEL_DIR."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another process is training there; wait for it or choose another MODEL_DIR."
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
