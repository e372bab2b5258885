"""Scores predictions by stemmed ROUGE-L with the `rouge-score` package and with ours, in turn.

    python benchmarks/rouge_scoring.py --tasks FOLDER [--predictions 100000] [--repetitions 5]

FOLDER holds task files of Natural Instructions. Predictions are real text: every instance is
answered with another reference of its own task, or with its input, so that lengths and repeats
are those of real answers. All values are compared in every round, to 1e-9.
"""

import argparse
import random

from rouge_score import rouge_scorer
from side_by_side import race

from instrux.data.natural_instructions_files import task_files
from instrux.evaluation import rouge
from instrux.prompts.natural_instructions import load_task


def cases(folder, count):
    """Pairs (prediction, references), `count` of them, from the tasks of a folder."""
    rng = random.Random(0)
    found = []
    for path in task_files(folder):
        task = load_task(path)
        for instance in task.instances:
            other = rng.choice(task.instances)
            found.append(
                (rng.choice([other.references[0]] * 3 + [instance.input]), instance.references)
            )
    rng.shuffle(found)
    # Repeated with a word more, so that no text of a later round was seen before.
    rounds = -(-count // len(found))
    return [
        (f"{said} {number}" if number else said, references)
        for number in range(rounds)
        for said, references in found
    ][:count]


def ours(pairs):
    # As in a new process: nothing is known of any text or word.
    rouge.english_scorer.cache_clear()
    rouge._stem.cache_clear()
    rouge_l = rouge.english_scorer().rouge_l
    return [max(rouge_l(said, reference) for reference in references) for said, references in pairs]


def packages(pairs):
    score = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True).score
    return [
        max(score(reference, said)["rougeL"].fmeasure for reference in references)
        for said, references in pairs
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--predictions", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    pairs = cases(options.tasks, options.predictions)
    differences = [abs(a - b) for a, b in zip(ours(pairs), packages(pairs), strict=True)]
    print(f"{len(pairs)} predictions, {sum(len(r) for _, r in pairs)} pairs")
    print(f"largest difference {max(differences):g}")
    if max(differences) > 1e-9:
        raise SystemExit("the values differ")
    race(lambda: ours(pairs), lambda: packages(pairs), repetitions=options.repetitions)


if __name__ == "__main__":
    main()
