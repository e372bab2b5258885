"""Numbers of a run that is counted in epochs: what a recipe binds where others have a figure.

    NUM_EXAMPLES = @epochs.examples()           every rendered example once
    TRAIN_STEPS = @epochs.train_steps()         so many epochs of the packed rows
    train.train.checkpoint_every_steps = @epochs.steps_per_epoch()

They are read off the manifests when a stage asks for them, so the stages before it are complete.
"""

from collections.abc import Sequence

from instrux.data.packed_manifest import PackSettings, read_manifest
from instrux.data.rendered import RenderedSplit
from instrux.errors import InputError


def examples(*, tasks: Sequence[str], data_dir: str, split: str = "train") -> int:
    """Gives the number of rendered examples of some tasks.

    Raises:
        InputError: a task is not rendered.
    """
    return sum(RenderedSplit(data_dir, task, split).count for task in tasks)


def steps_per_epoch(*, pack: PackSettings, data_dir: str, batch_size: int) -> int:
    """Gives the batches of an epoch: rows over rows of a batch, to the nearest whole number.

    Rows of two epochs may meet in a batch, so that after n such epochs the run is at most half a
    batch an epoch ahead of, or behind, n times all rows.

    Raises:
        InputError: the packed set is not there.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give 1 or more.")
    rows = read_manifest(pack.folder(data_dir)).rows
    return max(1, round(rows / batch_size))


def train_steps(*, pack: PackSettings, data_dir: str, batch_size: int, epochs: int) -> int:
    """Gives the updates of a run of so many epochs.

    Raises:
        InputError: the packed set is not there, or there is no epoch.
    """
    if epochs < 1:
        raise InputError(f"epochs is {epochs}; give 1 or more.")
    return epochs * steps_per_epoch(pack=pack, data_dir=data_dir, batch_size=batch_size)
