"""The stage `evaluate`: a trained run over rendered tasks, to results and predictions."""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.evaluation.evaluate import EvaluationSettings, evaluate_tasks
from instrux.evaluation.reader import Reader, ReadingSettings
from instrux.evaluation.results import FILE_NAME, EvaluationResults
from instrux.evaluation.selection import select_tasks
from instrux.models.decoding_settings import DecodingSettings
from instrux.models.several_processes import is_first
from instrux.training.mesh import MeshShape
from instrux.training.processes import join_cluster
from instrux.training.run_folder import is_run
from launch import declarations, evaluation_lineage
from launch.follow import ALL, Follow, check_step, each_kept, each_new
from launch.reading import find_foreign, find_run, opened


@dataclass(frozen=True)
class EvaluateResult:
    """What the stage made.

    Attributes:
        folder: `<model_dir>/<name>/<step>`, with `results.json` and `predictions/`.
        results: what `results.json` holds.
    """

    folder: Path
    results: EvaluationResults


def evaluate(
    *,
    model_dir: str,
    data_dir: str,
    tasks: Sequence[str] = (),
    mixtures: Sequence[str] = (),
    split: str = "validation",
    groups: Mapping[str, str] | None = None,
    max_examples: int | None = None,
    batch_size: int = 32,
    inputs_length: int | None = None,
    targets_length: int | None = None,
    max_decode_length: int | None = None,
    inputs_eos: bool | None = None,
    rank_choices: bool = True,
    normalize_lengths: bool = False,
    decoding: DecodingSettings | None = None,
    stop: str | None = None,
    score_end: bool = True,
    original_task_only: bool = False,
    allow_missing: bool = False,
    step: int | str | None = None,
    name: str = "eval",
    also: Mapping[str, str] | None = None,
    vocabulary: VocabularySpec | str | None = None,
    mesh: MeshShape | None = None,
    compile_cache: str | bool = True,
    module_imports: Sequence[str] = (),
    checkpoint: str | None = None,
    distributed: bool = False,
    follow: Follow | None = None,
) -> EvaluateResult:
    """Evaluates a checkpoint; a task already evaluated with the same settings is not done again.

    With `follow`, or with the step `all`, it evaluates several and gives the last one's result.

    Args:
        model_dir: the run's folder.
        data_dir: folder that holds `rendered/`.
        tasks: names or globs over rendered tasks.
        mixtures: registered mixtures whose tasks are evaluated, such as `t0_eval_score_eval`; to
            look them up takes the registry, and with it TensorFlow.
        split: the split to evaluate.
        groups: name or glob -> the group its tasks belong to, such as `held-out prompts`; the
            first that fits counts. Groups that start with `held-out` make a report's headline.
        max_examples: examples a task at most, the same rows for all prompts of a dataset.
        batch_size: examples a batch, over all devices.
        inputs_length: longer inputs are cut; the run's own length where None.
        targets_length: longer answer choices are cut; the run's own length where None.
        max_decode_length: longest generated answer in tokens; `targets_length` where None.
        inputs_eos: whether inputs end with the end-of-sequence id; as the run was trained where
            None.
        rank_choices: whether answer choices are ranked where there are any; otherwise every
            answer is generated.
        normalize_lengths: whether a choice's score is divided by its number of tokens.
        decoding: how answers are generated; greedily where None. Of several answers the best
            counts.
        stop: a generated answer is cut before the first of these characters, such as a newline.
        score_end: whether the end of sequence counts in a choice's score.
        original_task_only: leaves out prompts that turn a dataset's task around.
        allow_missing: whether tasks that are not rendered are left out, and told.
        step: which checkpoint; the newest where None, the one that `instrux select` chose where
            `selected`; each that the run keeps where `all`.
        name: of the evaluation: its folder under `model_dir`.
        also: further splits to evaluate the same tasks on -> names of these evaluations, such as
            `{"validation": "dev"}`; what lacks such a split is left out.
        vocabulary: to be sure of it: an error unless it is the run's own.
        mesh: sizes of the mesh's axes; all devices on `data` where None.
        compile_cache: False for none, True for the cache folder, or a folder.
        module_imports: modules of the user's own mixtures.
        checkpoint: a Hugging Face folder, a T5X checkpoint or another run's folder to evaluate;
            `model_dir` then gets the results and need not exist. Its vocabulary is `vocabulary`,
            or lies with it.
        distributed: whether this is one of several processes; see `instrux.training.processes`.
        follow: evaluates every checkpoint as a run in training makes it, until it is complete.

    Raises:
        InputError: no such run, checkpoint, task or split; or the vocabulary is another.
    """
    arguments = dict(locals())  # before there are other names: all that an evaluation was asked
    if distributed:
        join_cluster()
    check_step(step, follow)
    if follow is not None or step == ALL:
        if checkpoint is not None:
            raise InputError("evaluate: `checkpoint` is one checkpoint; evaluate it alone.")
        registered = declarations.tasks_of(mixtures, module_imports)

        each: dict[str, Any] = arguments | {
            "tasks": [*tasks, *registered],
            "mixtures": (),
            "follow": None,
        }
        del each["step"]

        def of_step(number: int) -> EvaluateResult:
            return evaluate(step=number, **each)

        if follow is None:
            return each_kept(model_dir, of_step)
        return each_new(model_dir, follow, of_step)
    if checkpoint is None or is_run(checkpoint):
        run = find_run(checkpoint or model_dir, step=step, vocabulary=vocabulary)
    else:
        run = find_foreign(
            checkpoint,
            out=model_dir,
            step=step,
            vocabulary=vocabulary,
            inputs_length=inputs_length,
            targets_length=targets_length,
        )
    places = [(split, name), *(also or {}).items()]
    names = [*tasks, *declarations.tasks_of(mixtures, module_imports)]
    selected = [
        select_tasks(
            data_dir,
            names,
            split=each,
            groups=groups,
            max_examples=max_examples,
            original_task_only=original_task_only,
            allow_missing=allow_missing or each != split,
        )
        for each, _ in places
    ]
    own = run.description
    reading = ReadingSettings(
        inputs_length=own.inputs_length if inputs_length is None else inputs_length,
        targets_length=own.targets_length if targets_length is None else targets_length,
        max_decode_length=max_decode_length,
        batch_size=batch_size,
        inputs_eos=own.inputs_eos if inputs_eos is None else inputs_eos,
        normalize_lengths=normalize_lengths,
        decoding=decoding or DecodingSettings(),
        stop=stop,
        score_end=score_end,
    )
    made = []
    with contextlib.ExitStack() as stack:

        @functools.cache
        def open_reader() -> Reader:
            return stack.enter_context(opened(run, reading, mesh=mesh, compile_cache=compile_cache))

        for each_tasks, (each_split, each_name) in zip(selected, places, strict=True):
            settings = EvaluationSettings(
                model_dir=model_dir,
                step=run.step,
                checkpoint=run.fingerprint,
                reading=dataclasses.asdict(reading),
                split=each_split,
                max_examples=max_examples,
                rank_choices=rank_choices,
            )
            folder = Path(model_dir) / each_name / str(run.step)
            results = evaluate_tasks(
                each_tasks, open_reader=open_reader, folder=folder, settings=settings
            )
            made.append(EvaluateResult(folder, results))
            if is_first():
                evaluation_lineage.write(folder, run, each_tasks, settings, data_dir)
                print(folder / FILE_NAME)
    return made[0]
