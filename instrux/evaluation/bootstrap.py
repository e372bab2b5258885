"""How sure a score is: intervals for one prompt, and a bootstrap over examples and prompts.

All prompts of a dataset are asked about the same examples, so examples are drawn jointly: a drawn
example counts for every prompt, and for both runs of a comparison. Prompts are drawn as well,
because other prompts might have been written. Not drawn are datasets and, unless several runs are
given, training seeds: the intervals say nothing about those.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from instrux.evaluation.results import Interval

REPLICATES = 1000
_Z95 = 1.959963984540054
_COUNTS_PER_CHUNK = 20_000_000


def wilson(num_correct: float, num_examples: int) -> Interval:
    """Wilson's score interval at 95 % for a share, in percent (Wilson 1927)."""
    if num_examples == 0:
        return Interval(0.0, 100.0)
    share, z2n = num_correct / num_examples, _Z95**2 / num_examples
    middle = (share + z2n / 2) / (1 + z2n)
    half = math.sqrt(share * (1 - share) * z2n + z2n**2 / 4) / (1 + z2n)
    return Interval(100 * max(0.0, middle - half), 100 * min(1.0, middle + half))


def normal_interval(credits: np.ndarray) -> Interval:
    """Normal 95 % interval of the mean of credits (0 to 100), kept within 0 to 100."""
    if len(credits) < 2:
        return Interval(0.0, 100.0)
    mean, half = credits.mean(), _Z95 * credits.std(ddof=1) / math.sqrt(len(credits))
    return Interval(float(max(0.0, mean - half)), float(min(100.0, mean + half)))


def percentile_interval(replicates: np.ndarray) -> Interval:
    """The middle 95 % of bootstrap replicates."""
    low, high = np.percentile(replicates, [2.5, 97.5])
    return Interval(float(low), float(high))


@dataclass(frozen=True)
class DatasetCredits:
    """What the prompts of one dataset got, example by example.

    Attributes:
        dataset: its label; with the seed it determines the draws.
        tasks: one name a prompt.
        example_ids: the different examples, in one order for all prompts.
        sums: float64 [examples, prompts], the credits; 0 where a prompt lacks the example.
        counts: float64 [examples, prompts], how many credits were summed (0, 1, or more where a
            prompt turns one row into several examples).
    """

    dataset: str
    tasks: tuple[str, ...]
    example_ids: tuple[str, ...]
    sums: np.ndarray
    counts: np.ndarray

    @property
    def prompt_scores(self) -> np.ndarray:
        """Float64 [prompts]: the mean credit of each."""
        return self.sums.sum(axis=0) / self.counts.sum(axis=0)

    def for_examples(self, example_ids: Sequence[str]) -> "DatasetCredits":
        """The same for some of the examples, in the order given."""
        row = {example_id: i for i, example_id in enumerate(self.example_ids)}
        rows = [row[example_id] for example_id in example_ids]
        return DatasetCredits(
            self.dataset, self.tasks, tuple(example_ids), self.sums[rows], self.counts[rows]
        )


def dataset_credits(
    dataset: str, credits_of_tasks: Sequence[tuple[str, Sequence[tuple[str, float]]]]
) -> DatasetCredits:
    """Lays the (example id, credit) pairs of each task of a dataset out as arrays."""
    ids = sorted({example_id for _, pairs in credits_of_tasks for example_id, _ in pairs})
    row = {example_id: i for i, example_id in enumerate(ids)}
    sums = np.zeros((len(ids), len(credits_of_tasks)))
    counts = np.zeros_like(sums)
    for column, (_, pairs) in enumerate(credits_of_tasks):
        rows = [row[example_id] for example_id, _ in pairs]
        np.add.at(sums[:, column], rows, [credit for _, credit in pairs])
        np.add.at(counts[:, column], rows, 1)
    return DatasetCredits(
        dataset, tuple(task for task, _ in credits_of_tasks), tuple(ids), sums, counts
    )


def prompt_replicates(
    runs: Sequence[DatasetCredits], *, seed: int = 0, replicates: int = REPLICATES
) -> list[np.ndarray]:
    """Bootstrap replicates of the scores of a dataset's prompts, for several runs.

    Every replicate draws examples with replacement, the same for all runs, and prompts' levels
    (`_prompt_levels`) with replacement: the same for all runs with as many prompts. The draws depend on the
    seed, the dataset's label, and the numbers of examples and prompts alone.

    Args:
        runs: the same dataset's credits under each run, with the same `example_ids`.
        seed: of the draws.
        replicates: how many to draw.

    Returns:
        For each run float64 [replicates, prompts], percent; levels and noise added may leave 0 to
        100.

    Raises:
        ValueError: the runs are not about the same examples.
    """
    if any(run.example_ids != runs[0].example_ids for run in runs):
        raise ValueError(f"{runs[0].dataset}: the runs to compare have different examples")
    drawn = []
    for run in runs:
        noise = _resampled_scores(run, seed, replicates) - run.prompt_scores
        levels = _prompt_levels(run.prompt_scores, noise)
        chosen = _generator(seed, run.dataset, "prompts").integers(
            len(levels), size=(replicates, len(levels))
        )
        drawn.append(levels[chosen] + noise)
    return drawn


def median_replicates(
    runs: Sequence[DatasetCredits], *, seed: int = 0, replicates: int = REPLICATES
) -> np.ndarray:
    """Bootstrap replicates of the median over prompts: float64 [runs, replicates], percent.

    Arguments and errors are those of `prompt_replicates`.
    """
    return np.stack([medians(d) for d in prompt_replicates(runs, seed=seed, replicates=replicates)])


def medians(scores: np.ndarray) -> np.ndarray:
    """Medians over the last axis, kept within 0 to 100."""
    return np.clip(np.median(scores, axis=-1), 0.0, 100.0)


def interquartile_ranges(scores: np.ndarray) -> np.ndarray:
    """Third quartile less first over the last axis, by linear interpolation, in points."""
    low, high = np.percentile(np.clip(scores, 0.0, 100.0), [25, 75], axis=-1)
    return high - low


def centred(replicates: np.ndarray, value: float) -> np.ndarray:
    """Replicates moved so that their mean is the value they stand for.

    Quartiles of few prompts, drawn with replacement, lie nearer to each other than those of the
    prompts themselves: replicates of a spread are too small on average, though they vary as they
    should. Intervals of differences of spreads cover 93 to 97 % of the time when so moved, and
    over 98 % if they are not (5 to 15 prompts, 60 to 300 examples).
    """
    return replicates - replicates.mean() + value


def _prompt_levels(scores: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """What prompts differ by in truth: their scores, drawn together around the median.

    Scores [prompts] differ by the prompts' own levels and by chance, as every prompt was asked
    about few examples. The noise [replicates, prompts] is that chance. To draw prompts with their
    scores as they are, and then to add the noise, would count it twice: on three prompts of forty
    examples the intervals would be half as wide again as they should be. So the scores are shrunk
    until their variance is what it exceeds the noise's by.
    """
    count = len(scores)
    if count == 1 or np.ptp(scores) == 0:
        return scores
    own = (noise - noise.mean(axis=1, keepdims=True)).var(axis=0).sum() / (count - 1)
    total = scores.var(ddof=1)
    # Draws from so few have a variance of (count - 1) / count of the one they stand for.
    share = np.sqrt(max(0.0, total - own) / total * count / (count - 1))
    centre = np.median(scores)
    return centre + share * (scores - centre)


def _resampled_scores(run: DatasetCredits, seed: int, replicates: int) -> np.ndarray:
    """Scores of each prompt on drawn examples: float64 [replicates, prompts]."""
    draws = _generator(seed, run.dataset, "examples")
    num_examples = len(run.example_ids)
    at_once = max(1, _COUNTS_PER_CHUNK // max(1, num_examples))
    parts = []
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        drawn = draws.integers(num_examples, size=(rows, num_examples))
        drawn += np.arange(rows)[:, None] * num_examples
        times = np.bincount(drawn.ravel(), minlength=rows * num_examples)
        times = times.reshape(rows, num_examples).astype(np.float64)
        seen = times @ run.counts
        # A prompt that applies to few examples may have none among the drawn: no score then.
        parts.append(
            np.divide(times @ run.sums, seen, out=np.full_like(seen, np.nan), where=seen > 0)
        )
    scores = np.concatenate(parts)
    return np.where(np.isnan(scores), run.prompt_scores, scores)


def _generator(seed: int, *words: str) -> np.random.Generator:
    digest = hashlib.blake2b("\x1f".join([str(seed), *words]).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
