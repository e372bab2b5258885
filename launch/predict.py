"""The stage `predict`: answers to inputs of the user's own, or to a rendered split."""

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instrux.data.files import write_atomically
from instrux.data.lineage_files import Source, beside, file_source, write_lineage
from instrux.data.rendered import RenderedSplit
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.evaluation.reader import Generated, Reader, ReadingSettings
from instrux.models.decoding_settings import DecodingSettings
from instrux.progress import progress
from instrux.training.mesh import MeshShape
from launch.reading import RunToRead, find_run, opened


@dataclass(frozen=True)
class Question:
    """One input to answer.

    Attributes:
        fields: the line it came from, given back with the answer.
        inputs: what the model reads.
        answer_choices: what it chooses among, or None to generate.
        target_prefix: what a generated answer begins with.
    """

    fields: dict[str, Any]
    inputs: str
    answer_choices: tuple[str, ...] | None
    target_prefix: str = ""


def predict(
    *,
    model_dir: str,
    inputs: str | None = None,
    data_dir: str | None = None,
    task: str | None = None,
    split: str = "validation",
    out: str | None = None,
    max_examples: int | None = None,
    batch_size: int = 32,
    inputs_length: int | None = None,
    targets_length: int | None = None,
    max_decode_length: int | None = None,
    inputs_eos: bool | None = None,
    normalize_lengths: bool = False,
    decoding: DecodingSettings | None = None,
    token_scores: bool = False,
    step: int | str | None = None,
    vocabulary: VocabularySpec | str | None = None,
    mesh: MeshShape | None = None,
    compile_cache: str | bool = True,
) -> int:
    """Answers every input: JSON lines in, the same lines with `prediction` out.

    A line of input is an object with `inputs`, and `answer_choices` (a list) where the model is
    to choose; then `scores` come back too. `target_prefix` is what a generated answer begins with.
    Other fields are handed through. Where `decoding` asks for several answers, `predictions` and
    `prediction_scores` hold all of them, the best first.

    Args:
        model_dir: the run's folder.
        inputs: a file of JSON lines, `-` for standard input; or give `data_dir` and `task`.
        data_dir: folder that holds `rendered/`.
        task: a rendered task.
        split: the rendered split to answer.
        out: file to write; standard output where None.
        max_examples: how many lines to answer at most.
        batch_size: inputs a batch, over all devices.
        inputs_length: longer inputs are cut; the run's own length where None.
        targets_length: longer answer choices are cut; the run's own length where None.
        max_decode_length: longest generated answer in tokens; `targets_length` where None.
        inputs_eos: whether inputs end with the end-of-sequence id; as the run was trained where
            None.
        normalize_lengths: whether a choice's score is divided by its number of tokens.
        decoding: how answers are generated; greedily where None.
        token_scores: whether the ids and log-probabilities of a generated answer's tokens come
            back too, as `token_ids` and `token_scores`: a list an answer.
        step: which checkpoint; the newest where None, the one that `instrux select` chose where
            `selected`.
        vocabulary: to be sure of it: an error unless it is the run's own.
        mesh: sizes of the mesh's axes; all devices on `data` where None.
        compile_cache: False for none, True for the cache folder, or a folder.

    Returns:
        How many inputs were answered.

    Raises:
        InputError: no such run, checkpoint or file; a line that is not an input.
    """
    run = find_run(model_dir, step=step, vocabulary=vocabulary)
    questions = list(_questions(inputs, data_dir, task, split))[:max_examples]
    if not questions:
        raise InputError(f"predict: {inputs or task} holds no inputs.")
    own = run.description
    reading = ReadingSettings(
        inputs_length=own.inputs_length if inputs_length is None else inputs_length,
        targets_length=own.targets_length if targets_length is None else targets_length,
        max_decode_length=max_decode_length,
        batch_size=batch_size,
        inputs_eos=own.inputs_eos if inputs_eos is None else inputs_eos,
        normalize_lengths=normalize_lengths,
        decoding=decoding or DecodingSettings(),
    )
    with opened(run, reading, mesh=mesh, compile_cache=compile_cache) as reader:
        answers = _answers(questions, reader, token_scores=token_scores)
    lines = (
        json.dumps(question.fields | answer, ensure_ascii=False) + "\n"
        for question, answer in zip(questions, answers, strict=True)
    )
    if out is None:
        sys.stdout.writelines(lines)
    else:
        write_atomically(out, (line.encode(errors="replace") for line in lines))
        asked = {"inputs": inputs, "data_dir": data_dir, "task": task, "split": split}
        _write_lineage(Path(out), run, asked, reading, len(questions))
    return len(questions)


def _write_lineage(
    out: Path, run: RunToRead, asked: dict[str, Any], reading: ReadingSettings, count: int
) -> None:
    """Writes what the file was made from, for `instrux show` and `instrux verify`."""
    sources = [
        Source(kind="run", name=f"{run.model_dir}, step {run.step}", path=str(run.model_dir))
    ]
    if asked["inputs"] == "-":
        sources.append(Source(kind="file", name="standard input"))
    elif asked["inputs"] is not None:
        sources.append(file_source(asked["inputs"]))
    else:
        split = RenderedSplit(asked["data_dir"], asked["task"], asked["split"])
        sources.append(
            Source(
                kind="rendered",
                name=split.task_name,
                split=split.split,
                fingerprint=split.manifest().fingerprint,
                path=str(split.folder),
            )
        )
    given = {name: value for name, value in asked.items() if value is not None}
    write_lineage(
        beside(out),
        "predictions",
        files=[out],
        sources=sources,
        arguments={"model_dir": str(run.model_dir), **given, **asdict(reading)},
        packages=("jax", "numpy"),
        counts={"answers": count},
    )


def _questions(
    inputs: str | None, data_dir: str | None, task: str | None, split: str
) -> Iterator[Question]:
    if inputs is not None and task is None:
        yield from _from_lines(inputs)
    elif task is not None and data_dir is not None and inputs is None:
        for example in RenderedSplit(data_dir, task, split).read():
            fields: dict[str, Any] = {
                "example_id": example.example_id,
                "template": example.template,
                "inputs": example.inputs,
                "targets": example.targets,
            }
            if example.answer_choices is not None:
                fields["answer_choices"] = list(example.answer_choices)
            yield Question(fields, example.inputs, example.answer_choices)
    else:
        raise InputError("predict: give either `inputs` (JSON lines) or `data_dir` and `task`.")


def _from_lines(path: str) -> Iterator[Question]:
    try:
        with (
            contextlib.nullcontext(sys.stdin)
            if path == "-"
            else Path(path).open(encoding="utf-8") as lines
        ):
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _question(line, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: inputs cannot be read ({error}).") from error


def _question(line: str, where: str) -> Question:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f'{where}: not JSON; write {{"inputs": "…"}}, one a line.') from error
    if not isinstance(fields, dict) or not isinstance(fields.get("inputs"), str):
        raise InputError(f'{where}: no "inputs"; write {{"inputs": "…"}}, one a line.')
    choices, prefix = fields.get("answer_choices"), fields.get("target_prefix", "")
    if not isinstance(prefix, str):
        raise InputError(f'{where}: "target_prefix" is not a text.')
    if choices is None:
        return Question(fields, fields["inputs"], None, prefix)
    if not (isinstance(choices, list) and choices and all(isinstance(c, str) for c in choices)):
        raise InputError(f'{where}: "answer_choices" is not a list of one text or more.')
    return Question(fields, fields["inputs"], tuple(choices))


def _answers(
    questions: Sequence[Question], reader: Reader, *, token_scores: bool
) -> list[dict[str, Any]]:
    """`prediction` (and `scores`) of each question, in their order."""
    answers: list[dict[str, Any]] = [{}] * len(questions)
    ranked = [i for i, question in enumerate(questions) if question.answer_choices is not None]
    free = [i for i, question in enumerate(questions) if question.answer_choices is None]
    tokens = reader.tokenize_inputs([question.inputs for question in questions])
    with progress("predict", total=len(questions), unit="inputs") as shown:

        def on_done(count: int) -> None:
            shown.update(shown.done + count)

        choices = [questions[i].answer_choices or () for i in ranked]
        found = reader.rank([tokens[i] for i in ranked], choices, on_done=on_done)
        for i, group, scores in zip(ranked, choices, found, strict=True):
            best = group[int(np.argmax(scores))]
            rounded = [round(float(score), 6) for score in scores]
            answers[i] = {"prediction": best, "scores": rounded}
        written = reader.generate(
            [tokens[i] for i in free],
            prefixes=[questions[i].target_prefix for i in free],
            scored=token_scores,
            on_done=on_done,
        )
        for i, generated in zip(free, written, strict=True):
            answers[i] = _written(generated, token_scores=token_scores)
    return answers


def _written(generated: Generated, *, token_scores: bool) -> dict[str, Any]:
    """What comes back of a generated answer, or of several."""
    answer: dict[str, Any] = {"prediction": generated.texts[0]}
    if len(generated.texts) > 1:
        answer["predictions"] = list(generated.texts)
        answer["prediction_scores"] = [_rounded(score) for score in generated.scores]
    if token_scores:
        answer["token_ids"] = [list(ids) for ids in generated.tokens]
        answer["token_scores"] = [list(map(_rounded, row)) for row in generated.token_scores]
    return answer


def _rounded(score: float) -> float | None:
    """For JSON, which has no infinity: None where a beam search found no such answer."""
    return round(score, 6) if math.isfinite(score) else None
