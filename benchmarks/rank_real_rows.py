"""Rank classification of real rows: our evaluation against t-zero's, on Hugging Face's T5, float32.

Rows of datasets with four choices are rendered by PromptSource's templates and tokenised by T5's
vocabulary, once and for both. t-zero (run_eval.py and data_collator.py at 7a699e3) takes a
template's rows in order, 8 a batch, repeats an input for each of its choices, pads inputs on the
left to the longest of the batch and targets on the right; inputs have no end of sequence and 1,024
tokens at most. Ours is `Reader.rank`, as `instrux evaluate` calls it for several tasks. All scores must
agree before anything is timed. Weights are random: speed does not depend on them.

    python benchmarks/rank_real_rows.py --data FOLDER       # FOLDER/p3/, FOLDER/vocab/
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import torch
from hugging_face import parsed, peer_of, t5_1_1_small
from side_by_side import race

from instrux.data.vocabularies import Vocabulary, VocabularySpec
from instrux.evaluation.reader import Reader, ReadingSettings
from instrux.models import t5
from instrux.prompts import TemplateCollection
from instrux.prompts.template import Template

SETS = ("cosmos_qa", "quail", "hellaswag", "ai2_arc/ARC-Challenge")
INPUTS_LENGTH, TARGETS_LENGTH = 1024, 256


@dataclass(frozen=True)
class Rows:
    """The rows of one template: token ids of inputs, and texts and ids of their choices."""

    name: str
    inputs: list[list[int]]
    choices: list[tuple[str, ...]]
    choice_ids: list[list[list[int]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=32, help="of each dataset")
    options = parsed(parser)
    vocabulary = VocabularySpec.parse(str(options.data / "vocab" / "t5_32000.model")).load()
    tasks = [_rows(options.data / "p3", name, vocabulary, options.rows) for name in SETS]
    config = t5_1_1_small(layers=options.layers)
    model = t5.T5(config)
    params = jax.jit(model.init)(jax.random.key(0))
    peer = peer_of(config, params)
    reader = Reader(
        model,
        params,
        vocabulary,
        ReadingSettings(
            inputs_length=INPUTS_LENGTH, targets_length=TARGETS_LENGTH, batch_size=options.batch
        ),
    )

    def ours() -> np.ndarray:
        inputs = [ids for task in tasks for ids in task.inputs]
        choices = [group for task in tasks for group in task.choices]
        return np.concatenate(reader.rank(inputs, choices))

    def theirs() -> np.ndarray:
        return np.concatenate([_t_zero(peer, task, options.batch) for task in tasks])

    scores, expected = ours(), theirs()
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    _describe(tasks, reader, np.abs(scores - expected).max())
    race(ours, theirs, repetitions=options.repetitions)


def _rows(folder: Path, name: str, vocabulary: Vocabulary, count: int) -> Rows:
    """Rows with four choices, by the first template that asks the dataset's own question."""
    dataset, _, config = name.partition("/")
    path = sorted((folder / dataset / (config or "default")).glob("*.jsonl"))[-1]
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    templates = TemplateCollection.load("promptsource-0.2.3")[name]
    for template in map(templates.__getitem__, templates):
        if not template.metadata.original_task:
            continue
        rendered = _rendered(template, lines, count)
        if len(rendered) == count:
            inputs, choices = zip(*rendered, strict=True)
            ids = [[_ended(vocabulary, text) for text in group] for group in choices]
            cut = [row[:INPUTS_LENGTH] for row in vocabulary.encode_batch(list(inputs))]
            return Rows(f"{name}: {template.name}", cut, list(choices), ids)
    raise SystemExit(f"{path}: no template gives {count} rows with four choices")


def _rendered(
    template: Template, lines: list[dict], count: int
) -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for line in lines:
        rendered = template.apply(line, rng=random.Random(0), truncate=True)
        choices = rendered.answer_choices
        if rendered.inputs and choices and len(choices) == 4 and rendered.targets in choices:
            found.append((rendered.inputs, tuple(choices)))
        if len(found) == count:
            break
    return found


def _ended(vocabulary: Vocabulary, text: str) -> list[int]:
    return [*vocabulary.encode(text)[: TARGETS_LENGTH - 1], vocabulary.eos_id]


@torch.no_grad()
def _t_zero(peer: torch.nn.Module, task: Rows, batch_size: int) -> np.ndarray:
    scores = []
    for start in range(0, len(task.inputs), batch_size):
        groups = task.choice_ids[start : start + batch_size]
        inputs = task.inputs[start : start + batch_size]
        repeated = [row for row, group in zip(inputs, groups, strict=True) for _ in group]
        input_ids = _padded(repeated, on_the_left=True)
        labels = _padded([choice for group in groups for choice in group])
        logits = peer(
            input_ids=input_ids, attention_mask=(input_ids > 0).long(), labels=labels
        ).logits
        log_probs = (labels > 0).unsqueeze(-1) * torch.log_softmax(logits, dim=-1)
        scores.append(torch.gather(log_probs, -1, labels.unsqueeze(-1))[..., 0].sum(dim=-1))
    return torch.cat(scores).numpy()


def _padded(rows: Sequence[list[int]], *, on_the_left: bool = False) -> torch.Tensor:
    longest = max(map(len, rows))
    padding = [[0] * (longest - len(row)) for row in rows]
    pairs = zip(padding, rows, strict=True)
    return torch.tensor([[*pad, *row] if on_the_left else [*row, *pad] for pad, row in pairs])


def _describe(tasks: Sequence[Rows], reader: Reader, difference: float) -> None:
    for task in tasks:
        lengths = [len(row) for row in task.inputs]
        choices = [len(choice) for group in task.choice_ids for choice in group]
        print(
            f"{task.name}: {len(lengths)} rows; inputs of {min(lengths)} to {max(lengths)} tokens,"
            f" mean {np.mean(lengths):.0f}; choices of {max(choices)} at most"
        )
    padding = 1 - reader.tokens / reader.positions
    print(f"same scores: largest difference {difference:.1e}; ours computes {padding:.0%} padding")


if __name__ == "__main__":
    main()
