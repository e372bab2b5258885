"""How many tokens the examples of a mixture's tasks have: from a packed set, or from rendered text."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from instrux.errors import InputError

_SAMPLE = 200


@dataclass(frozen=True)
class TaskTokens:
    """Mean tokens of a task's examples.

    Attributes:
        inputs: of the inputs.
        targets: of the targets, with the end-of-sequence id.
    """

    inputs: float
    targets: float

    @property
    def both(self) -> float:
        """Mean tokens of an example, inputs and targets."""
        return self.inputs + self.targets


@dataclass(frozen=True)
class TokenCounts:
    """Token counts of tasks, and where they come from.

    Attributes:
        source: in words, for people.
        tasks: task -> its counts; tasks that nothing is known of are absent.
    """

    source: str
    tasks: Mapping[str, TaskTokens]


def token_counts(
    mixture: str, tasks: Iterable[str], *, data_dir: str, vocabulary: str | None
) -> TokenCounts:
    """Gives token counts from what `data_dir` holds.

    A packed set of the mixture knows them of all its examples, after truncation. Without one, the
    first examples of each rendered task are tokenised, and not truncated.

    Args:
        mixture: the mixture.
        tasks: its tasks.
        data_dir: folder with `packed/` or `rendered/`.
        vocabulary: for rendered text; the default one if None.

    Raises:
        InputError: there is no such folder, or no vocabulary to tokenise with.
    """
    if not Path(data_dir).is_dir():
        raise InputError(f"{data_dir}: no such folder; give the --data_dir that was rendered into")
    if vocabulary is None and (packed := newest_packed(mixture, data_dir)) is not None:
        return _from_packed(packed)
    return _from_rendered(tasks, data_dir, vocabulary)


def newest_packed(mixture: str, data_dir: str) -> Path | None:
    """The packed set of the mixture that was completed last."""
    from instrux.data.packed_manifest import COMPLETED_NAME

    # Twelve digits of a hash follow the name (PackSettings.folder).
    folders = Path(data_dir).glob(f"packed/*/{COMPLETED_NAME}")
    mine = [path for path in folders if path.parent.name.rpartition("-")[0] == mixture]
    newest = max(mine, key=lambda path: path.stat().st_mtime, default=None)
    return None if newest is None else newest.parent


def _from_packed(folder: Path) -> TokenCounts:
    from instrux.data.packed_manifest import read_manifest

    manifest = read_manifest(folder)
    lengths = f"{manifest.settings['inputs_length']}/{manifest.settings['targets_length']}"
    return TokenCounts(
        f"{folder.name}: all {manifest.examples:,} packed examples, cut at {lengths} tokens",
        {
            task.name: TaskTokens(
                task.inputs_tokens / task.examples, task.targets_tokens / task.examples
            )
            for task in manifest.tasks
            if task.examples
        },
    )


def _from_rendered(tasks: Iterable[str], data_dir: str, vocabulary: str | None) -> TokenCounts:
    from instrux.data.rendered import rendered_task_names
    from instrux.data.vocabularies import VocabularySpec

    spec = VocabularySpec.default() if vocabulary is None else VocabularySpec.parse(vocabulary)
    encode = spec.load().encode_batch
    tasks = list(tasks)
    there = set(rendered_task_names(data_dir)) & {_rendered_name(task) for task in tasks}
    found = {}
    for task in tasks:
        if _rendered_name(task) in there:
            examples = _first_examples(data_dir, _rendered_name(task))
            if examples:
                inputs = encode([inputs for inputs, _ in examples])
                targets = encode([targets for _, targets in examples])
                found[task] = TaskTokens(
                    sum(map(len, inputs)) / len(inputs), 1 + sum(map(len, targets)) / len(targets)
                )
    return TokenCounts(
        f"up to {_SAMPLE} rendered examples of each of {len(found)} of {len(tasks)} tasks, not cut, "
        f"vocabulary {spec}",
        found,
    )


def _rendered_name(task: str) -> str:
    """A twin for rank classification is rendered as its plain task."""
    from instrux.data import registration

    try:
        return registration.prompted_task(task).name
    except InputError:  # a task of SeqIO's own is not rendered
        return task


def _first_examples(data_dir: str, task: str) -> list[tuple[str, str]]:
    from instrux.data.rendered import RenderedSplit

    splits = [RenderedSplit(data_dir, task, name) for name in ("train", "validation", "test")]
    split = next((split for split in splits if split.exists()), None)
    if split is None:
        return []
    return [(each.inputs, each.targets) for each in itertools.islice(split.read(), _SAMPLE)]
