"""The stage `select`: scores a run's checkpoints on tasks it was trained on, and notes the best."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from instrux.data.lineage_files import beside, evaluation_source, write_lineage
from instrux.data.selected_step import FILE_NAME, SelectedStep, write_selected
from instrux.data.task_names import SCORE_EVAL_SUFFIX
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.evaluation.checkpoint_choice import best_step, find_rule, score_steps
from instrux.models.several_processes import is_first
from instrux.progress import tell
from instrux.training.checkpoints import all_steps
from instrux.training.mesh import MeshShape
from instrux.training.processes import join_cluster
from launch import declarations
from launch.evaluate import evaluate
from launch.reading import find_run


@dataclass(frozen=True)
class SelectResult:
    """What the stage made.

    Attributes:
        path: `<model_dir>/selected.json`.
        selected: what it holds.
        written: False where it was there already, with the same content.
    """

    path: Path
    selected: SelectedStep
    written: bool


def select(
    *,
    model_dir: str,
    data_dir: str,
    tasks: Sequence[str] = (),
    mixtures: Sequence[str] = (),
    split: str = "validation",
    steps: Sequence[int] | None = None,
    rule: str = "mean_of_dataset_medians",
    allow_missing: bool = False,
    max_examples: int | None = None,
    batch_size: int = 32,
    inputs_length: int | None = None,
    targets_length: int | None = None,
    max_decode_length: int | None = None,
    inputs_eos: bool | None = None,
    rank_choices: bool = True,
    normalize_lengths: bool = False,
    name: str = "select",
    vocabulary: VocabularySpec | str | None = None,
    mesh: MeshShape | None = None,
    compile_cache: str | bool = True,
    module_imports: Sequence[str] = (),
    distributed: bool = False,
) -> SelectResult:
    """Evaluates checkpoints and writes which is the best; `step = "selected"` stands for it then.

    A checkpoint already evaluated with the same settings is not evaluated again. Name tasks of
    training datasets: a checkpoint chosen on held-out tasks has seen them.

    Args:
        model_dir: the run's folder.
        data_dir: folder that holds `rendered/`.
        tasks: names or globs over rendered tasks.
        mixtures: registered mixtures whose tasks are scored, such as `t0_train_score_eval`.
        split: the split to score.
        steps: the checkpoints to compare; all that the run keeps where None.
        rule: how a checkpoint's score is made of its tasks': `mean_of_dataset_medians` or
            `mean_of_tasks`.
        allow_missing: whether tasks that are not rendered are left out, and told.
        max_examples: as in `evaluate`, like all that follow but the last three.
        batch_size: examples a batch, over all devices.
        inputs_length: longer inputs are cut.
        targets_length: longer answer choices are cut.
        max_decode_length: longest generated answer in tokens.
        inputs_eos: whether inputs end with the end-of-sequence id; as the run was trained where
            None.
        rank_choices: whether answer choices are ranked where there are any.
        normalize_lengths: whether a choice's score is divided by its number of tokens.
        vocabulary: to be sure of it.
        mesh: sizes of the mesh's axes.
        compile_cache: False for none, True for the cache folder, or a folder.
        name: the folder under `model_dir` that gets each step's results.
        module_imports: modules of the user's own mixtures.
        distributed: whether this is one of several processes; see `instrux.training.processes`.

    Raises:
        InputError: no such run, checkpoint, task, mixture or rule.
    """
    if distributed:
        join_cluster()
    find_rule(rule)
    names = [*tasks, *declarations.tasks_of(mixtures, module_imports)]
    chosen = steps_to_compare(model_dir, steps)
    evaluated = {}
    for number, step in enumerate(chosen, start=1):
        tell(f"select: checkpoint of step {step} ({number} of {len(chosen)})")
        evaluated[step] = evaluate(
            model_dir=model_dir,
            data_dir=data_dir,
            tasks=names,
            split=split,
            step=step,
            name=name,
            allow_missing=allow_missing,
            max_examples=max_examples,
            batch_size=batch_size,
            inputs_length=inputs_length,
            targets_length=targets_length,
            max_decode_length=max_decode_length,
            inputs_eos=inputs_eos,
            rank_choices=rank_choices,
            normalize_lengths=normalize_lengths,
            vocabulary=vocabulary,
            mesh=mesh,
            compile_cache=compile_cache,
        ).results
    scores = score_steps(evaluated, rule)
    best = best_step(scores)
    scored = tuple(task.task for task in evaluated[best].tasks)
    selected = SelectedStep(
        step=best,
        checkpoint=find_run(model_dir, step=best, vocabulary=None).fingerprint,
        rule=rule,
        score=scores[best],
        scores=scores,
        tasks=scored,
        left_out=_left_out(names, scored),
        split=split,
        max_examples=max_examples,
        evaluation=name,
    )
    path = Path(model_dir) / FILE_NAME
    written = is_first() and write_selected(model_dir, selected)
    if is_first():
        write_selection_lineage(model_dir, selected)
    _tell(selected, path, written=written)
    if is_first():
        print(path)
    return SelectResult(path, selected, written)


def write_selection_lineage(model_dir: str, selected: SelectedStep) -> None:
    """Writes what a checkpoint was chosen by, for `instrux show` and `instrux verify`."""
    path = Path(model_dir) / FILE_NAME
    evaluations = {step: path.parent / selected.evaluation / str(step) for step in selected.scores}
    write_lineage(
        beside(path),
        "selection",
        files=[path],
        sources=[evaluation_source(f"step {step}", each) for step, each in evaluations.items()],
        arguments={
            "rule": selected.rule,
            "split": selected.split,
            "max_examples": selected.max_examples,
            "tasks": selected.tasks,
        },
        packages=("numpy",),
        counts={"selected_step": selected.step, "checkpoints": len(selected.scores)},
    )


def steps_to_compare(model_dir: str, steps: Sequence[int] | None) -> list[int]:
    """Gives the checkpoints to compare, all that a run keeps where none are named.

    Raises:
        InputError: there is none, or one that is named is not there.
    """
    kept = all_steps(model_dir)
    chosen = kept if steps is None else sorted(set(steps))
    if not chosen:
        raise InputError(
            f"{model_dir}: no checkpoint to select from; `instrux train` makes them."
            if steps is None
            else "select: `steps` is empty; name checkpoints, or leave it out for all."
        )
    if absent := [step for step in chosen if step not in kept]:
        raise InputError(f"{model_dir}: no checkpoint of step {absent[0]}; there are {kept}.")
    if len(chosen) == 1:
        tell(
            f"select: one checkpoint only, step {chosen[0]}: nothing to choose from. Train with"
            " `keep_checkpoints` or `keep_every_steps` to keep more."
        )
    return chosen


def _left_out(names: Sequence[str], scored: Sequence[str]) -> tuple[str, ...]:
    plain = (name.removesuffix(SCORE_EVAL_SUFFIX) for name in names if not set(name) & set("*?["))
    return tuple(name for name in plain if name not in scored)


def _tell(selected: SelectedStep, path: Path, *, written: bool) -> None:
    for step, score in selected.scores.items():
        tell(f"  step {step:>9,}  {score:6.2f}{'  <- selected' if step == selected.step else ''}")
    datasets = f"{len(selected.tasks)} tasks, {selected.split}, {selected.rule}"
    tell(f"select: step {selected.step} ({datasets}){'' if written else ': complete, skipped'}")
