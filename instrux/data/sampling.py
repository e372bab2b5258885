"""How many examples of each task a mixture takes, and which.

Everything is a function of names, counts and a seed, so that any worker can answer for the
examples that it holds, in any order, and a run can be resumed at any point.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from instrux.errors import InputError

_FEISTEL_ROUNDS = 8


def stable_key(*parts: object) -> int:
    """Gives 64 bits that depend on every part (by `repr`), the same on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def mixed_bits(values: np.ndarray, key: int) -> np.ndarray:
    """Hashes unsigned 64-bit integers one by one under a key (the finaliser of SplitMix64).

    Args:
        values: uint64 array of any shape.
        key: 64 bits, such as `stable_key` gives.

    Returns:
        uint64 array of the same shape; equal values have equal hashes.
    """
    bits = values.astype(np.uint64) + np.uint64(key)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def permuted(positions: np.ndarray, size: int, *key: object) -> np.ndarray:
    """Maps positions through a pseudo-random permutation of `range(size)`, without storing it.

    A Feistel network permutes the next power of four; a value that falls outside is sent through
    again until it falls inside.

    Args:
        positions: integers in `[0, size)`, any shape.
        size: how many items are permuted.
        *key: what the permutation depends on, such as a seed and an epoch.

    Returns:
        int64 array of the same shape.
    """
    half_bits = max(1, ((max(size, 2) - 1).bit_length() + 1) // 2)
    round_keys = [stable_key(*key, number) for number in range(_FEISTEL_ROUNDS)]
    result = np.asarray(positions).astype(np.uint64)
    outside = np.ones(result.shape, bool)
    while outside.any():
        result[outside] = _feistel(result[outside], half_bits, round_keys)
        outside = result >= np.uint64(size)
    return result.astype(np.int64)


def _feistel(values: np.ndarray, half_bits: int, round_keys: list[int]) -> np.ndarray:
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for round_key in round_keys:
        left, right = right, left ^ (mixed_bits(right, round_key) & mask)
    return (left << shift) | right


def apportion(rates: Mapping[str, float], num_examples: int) -> dict[str, int]:
    """Shares `num_examples` among tasks by their rates, by the method of largest remainders.

    Every count is within one of `num_examples * rate / sum(rates)`, and they sum to
    `num_examples`. Equal remainders go to the task that stands first.

    Raises:
        InputError: there is no task, a rate is not a positive finite number, or `num_examples`
            is not positive.
    """
    if not rates:
        raise InputError("the mixture has no task")
    for task, rate in rates.items():
        if not (math.isfinite(rate) and rate > 0):
            raise InputError(
                f"task {task}: its rate is {rate}; give a positive finite number or leave the task out"
            )
    if num_examples < 1:
        raise InputError(f"num_examples is {num_examples}; give 1 or more")
    whole = math.fsum(rates.values())
    quotas = {task: num_examples * (rate / whole) for task, rate in rates.items()}
    counts = {task: math.floor(quota) for task, quota in quotas.items()}
    left_over = num_examples - sum(counts.values())
    by_remainder = sorted(quotas, key=lambda task: counts[task] - quotas[task])
    for task in by_remainder[:left_over]:
        counts[task] += 1
    return counts


@dataclass(frozen=True)
class TaskSample:
    """Which of one task's examples a mixture takes, and how often.

    Each is taken `whole_epochs` times, and `extra` of them, chosen by a seeded permutation of
    their positions, once more.

    Attributes:
        task: the task's name.
        available: how many examples the task has.
        taken: how many the mixture takes, repeats counted.
        seed: chooses the examples that are taken once more.
    """

    task: str
    available: int
    taken: int
    seed: int

    def __post_init__(self) -> None:
        if self.available < 1 and self.taken > 0:
            raise InputError(f"task {self.task}: it has no examples; leave it out of the mixture")

    @property
    def whole_epochs(self) -> int:
        """How often every example is taken."""
        return self.taken // self.available if self.available else 0

    @property
    def extra(self) -> int:
        """How many examples are taken once more than the others."""
        return self.taken - self.whole_epochs * self.available

    def repeats(self, positions: np.ndarray) -> np.ndarray:
        """Tells how often the examples at `positions` of the task are taken.

        Args:
            positions: integers in `[0, available)`, any shape.

        Returns:
            int64 array of the same shape.
        """
        rank = permuted(positions, self.available, "repeats", self.seed, self.task)
        return self.whole_epochs + (rank < self.extra)


def draw(
    rates: Mapping[str, float], available: Mapping[str, int], *, num_examples: int, seed: int
) -> dict[str, TaskSample]:
    """Decides how often each example of each task is taken.

    Args:
        rates: the mixing rate of each task; only their proportions matter.
        available: how many examples each of these tasks has.
        num_examples: how many the mixture takes in all.
        seed: chooses among the examples of a task.

    Returns:
        A sample for each task, in the order of `rates`.

    Raises:
        InputError: a rate, a count or `num_examples` cannot be used; the message names the task.
    """
    counts = apportion(rates, num_examples)
    return {task: TaskSample(task, available[task], taken, seed) for task, taken in counts.items()}
