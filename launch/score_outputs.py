"""The stage `score_outputs`: scorers and judges over the answers of an evaluation."""

import contextlib
import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from instrux.data.lineage_files import beside, evaluation_source, write_lineage
from instrux.data.selected_step import step_number
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.evaluation import output_scores
from instrux.evaluation.completion_scores import find_scorer, scorer_name
from instrux.evaluation.output_scores import OutputScore
from instrux.evaluation.reader import Reader, ReadingSettings
from instrux.evaluation.results import FILE_NAME
from instrux.evaluation.toxicity import ClassifierScorer, LexiconScorer, PerspectiveScorer
from instrux.evaluation.truth_judge import TruthJudge
from instrux.training.run_folder import is_run
from launch.reading import RunToRead, find_foreign, find_run, opened

__all__ = [
    "ClassifierScorer",
    "LanguageModelJudge",
    "LexiconScorer",
    "PerspectiveScorer",
    "score_outputs",
]


class LanguageModelJudge:
    """TruthfulQA's judge, from a run of ours or a Hugging Face or T5X checkpoint, read when first asked."""

    def __init__(
        self,
        *,
        checkpoint: str,
        asks: str = "True",
        vocabulary: VocabularySpec | str | None = None,
        inputs_length: int = 512,
        batch_size: int = 16,
    ) -> None:
        """Reads nothing yet.

        Args:
            checkpoint: the judge.
            asks: `True`, or `Helpful` for whether an answer is informative.
            vocabulary: its vocabulary; that which lies with it where None.
            inputs_length: longer questions with answers are cut, in tokens.
            batch_size: answers at a time.
        """
        self._checkpoint, self._vocabulary = checkpoint, vocabulary
        self._settings = ReadingSettings(
            inputs_length=inputs_length, targets_length=8, batch_size=batch_size
        )
        self._judge = TruthJudge(self._rank, asks)
        self.name = self._judge.name
        self._held = contextlib.ExitStack()  # the model stays open as long as the judge is there
        self._reader: Reader | None = None

    def score(self, prompt: str, completion: str) -> float:
        """Probability of yes."""
        return self._judge.score(prompt, completion)

    def score_all(self, prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        """Probabilities of yes for several."""
        return self._judge.score_all(prompts, completions)

    def _rank(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> Any:
        if self._reader is None:
            self._reader = self._held.enter_context(opened(self._find(), self._settings))
        return self._reader.rank(self._reader.tokenize_inputs(prompts), options, whole_texts=True)

    def _find(self) -> RunToRead:
        if is_run(self._checkpoint):
            return find_run(self._checkpoint, step=None, vocabulary=self._vocabulary)
        return find_foreign(
            self._checkpoint,
            out=self._checkpoint,
            step=None,
            vocabulary=self._vocabulary,
            inputs_length=self._settings.inputs_length,
            targets_length=self._settings.targets_length,
        )


def score_outputs(
    *,
    model_dir: str,
    tasks: Sequence[str],
    scorers: Mapping[str, Any],
    name: str = "public",
    step: int | str | None = None,
) -> list[OutputScore]:
    """Scores the answers that an evaluation generated; what is scored already is not scored again.

    Args:
        model_dir: the run's folder.
        tasks: names or globs over the evaluation's tasks, such as `public_real_toxicity_*`.
        scorers: name -> a scorer (`completion_scores`), or its name as `acme.judge:score`. The report
            shows `toxicity`, `true` and `informative` beside the paper's figures.
        name: of the evaluation.
        step: which checkpoint's; the newest evaluated where None.

    Raises:
        InputError: there is no such evaluation or task, or a scorer fails.
    """
    folder = _folder(Path(model_dir) / name, model_dir, step)
    known = sorted(path.stem for path in (folder / "predictions").glob("*.jsonl"))
    chosen = [task for task in known if any(fnmatch.fnmatch(task, p) for p in tasks)]
    if not chosen:
        raise InputError(f"{folder}: no evaluated task fits {', '.join(tasks)}.")
    found = {label: find_scorer(scorer) for label, scorer in scorers.items()}
    made = output_scores.score_outputs(folder, chosen, found)
    write_lineage(
        beside(folder / output_scores.SUMMARY_NAME),
        "scores",
        files=[folder / output_scores.SUMMARY_NAME, *(folder / "output_scores").glob("*.jsonl")],
        sources=[evaluation_source("/".join(folder.absolute().parts[-3:]), folder)],
        arguments={
            "tasks": tasks,
            "scorers": {label: scorer_name(s) for label, s in found.items()},
        },
        packages=("numpy",),
        counts={"answers": sum(each.count for each in made)},
    )
    _tell(made)
    print(folder / output_scores.SUMMARY_NAME)
    return made


def _folder(evaluation: Path, model_dir: str, step: int | str | None) -> Path:
    number = step_number(model_dir, step)
    steps = [
        int(p.parent.name) for p in evaluation.glob(f"*/{FILE_NAME}") if p.parent.name.isdecimal()
    ]
    if not steps:
        raise InputError(f"{evaluation}: no evaluation; `instrux evaluate` makes it.")
    chosen = max(steps) if number is None else number
    if chosen not in steps:
        raise InputError(
            f"{evaluation}: step {chosen} was not evaluated; there are {sorted(steps)}."
        )
    return evaluation / str(chosen)


def _tell(made: Sequence[OutputScore]) -> None:
    table = Table(box=SIMPLE)
    for heading in ("task", "scorer", "by", "mean (95 % interval)", "share of yes", "answers"):
        table.add_column(heading, no_wrap=True)
    for each in made:
        mean = f"{each.mean:.3f} ({each.low:.3f} to {each.high:.3f})"
        table.add_row(each.task, each.scorer, each.by, mean, f"{each.share:.3f}", str(each.count))
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, 140)
    console.print(table)
