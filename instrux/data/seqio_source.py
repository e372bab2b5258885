"""A SeqIO data source that renders a prompted task's raw rows as they are read."""

import dataclasses
from collections.abc import Iterator, Sequence

import seqio
import tensorflow as tf

from instrux.data.examples import RenderedExample
from instrux.data.prompted_task import PromptedTask, Skipped
from instrux.errors import InputError

_MAX_BAD_SHARE = 0.01
"""Share of rows that may be passed over; the default of the Beam job that renders."""
_BAD_ROWS_BEFORE_GIVING_UP = 100

_TEXTS = {"inputs": tf.TensorSpec([], tf.string), "targets": tf.TensorSpec([], tf.string)}
_CHOICES = {
    "idx": tf.TensorSpec([2], tf.int32),
    "inputs": tf.TensorSpec([], tf.string),
    "targets": tf.TensorSpec([], tf.string),
    "is_correct": tf.TensorSpec([], tf.bool),
    "weight": tf.TensorSpec([], tf.float32),
}


class PromptedTaskSource(seqio.DataSource):
    """The rows of a dataset with one template applied, in the dataset's own order.

    Gives the same texts as the Beam job that renders the task. Nothing is read until a dataset
    is iterated over. Any number of shards can be asked for: where the dataset lies in at least
    so many pieces they are dealt out, otherwise row n goes to shard n modulo their number.

    Attributes:
        task: what is read and rendered.
        rank_choices: give one example for each answer choice (`idx` = (row, choice),
            `is_correct`, `weight`, and the choice as `targets`) in place of one for each row.
    """

    def __init__(self, task: PromptedTask, *, rank_choices: bool = False) -> None:
        super().__init__(splits=tuple(task.splits))
        self.task = task
        self.rank_choices = rank_choices

    def __repr__(self) -> str:
        return f"PromptedTaskSource({self.task.name!r}, rank_choices={self.rank_choices})"

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """True: rows can be dealt out to any number of shards."""
        return True

    def num_input_examples(self, split: str) -> int | None:
        """Number of rows as declared with the task, known for `train` only; nothing is read."""
        return self.task.train_examples if split == "train" else None

    def list_shards(self, split: str) -> Sequence[str]:
        """Names of as many shards as the dataset's split has pieces."""
        count = len(self.task.source.shards(self._source_split(split)))
        return [f"{split}-{index:05d}-of-{count:05d}" for index in range(count)]

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: object,
    ) -> tf.data.Dataset:
        """Gives `inputs` and `targets` as strings, or one example for each answer choice.

        Args:
            split: a split of the task.
            shuffle: ignored here; SeqIO shuffles what it gets from a source.
            seed: ignored.
            shard_info: which shard to give; all rows if None.
            unused: what SeqIO passes to other providers.
        """
        del shuffle, seed, unused
        source_split = self._source_split(split)
        shard = shard_info if shard_info is not None else seqio.ShardInfo(0, 1)

        def examples() -> Iterator[dict[str, object]]:
            for row, rendered in self._render(source_split, shard):
                if self.rank_choices:
                    yield from _choices(row, rendered)
                else:
                    yield {"inputs": _utf8(rendered.inputs), "targets": _utf8(rendered.targets)}

        signature = _CHOICES if self.rank_choices else _TEXTS
        return tf.data.Dataset.from_generator(examples, output_signature=signature)

    def _source_split(self, split: str) -> str:
        if split not in self.task.splits:
            raise InputError(
                f"task {self.task.name!r} has no split {split!r}; it has "
                f"{', '.join(map(repr, self.task.splits))}"
            )
        return self.task.splits[split]

    def _render(self, split: str, shard: seqio.ShardInfo) -> Iterator[tuple[int, RenderedExample]]:
        task = self.task.resolve()
        pieces = task.source.shards(split)
        deal_pieces = len(pieces) >= shard.num_shards
        bad = _BadRows(f"task {task.name!r}, split {split!r}")
        for piece in pieces[shard.index :: shard.num_shards] if deal_pieces else pieces:
            for row, values in task.source.read(piece, on_bad_row=bad.pass_over):
                if not deal_pieces and row % shard.num_shards != shard.index:
                    continue
                bad.rows += 1
                try:
                    rendered = task.render(values, task.source.example_id(split, row))
                except InputError as error:
                    bad.pass_over(row, error)
                    continue
                if not isinstance(rendered, Skipped):
                    yield row, rendered
        bad.check()


@dataclasses.dataclass
class _BadRows:
    """Passes over rows that cannot be read or rendered, as the Beam job does, if they are few.

    Attributes:
        where: what is read, for messages.
        rows: number of rows seen.
        bad: number of them passed over.
        first: what was wrong with the first.
    """

    where: str
    rows: int = 0
    bad: int = 0
    first: str = ""

    def pass_over(self, row: int, error: InputError) -> None:
        self.first = self.first or f"row {row}: {error}"
        self.bad += 1
        if self.bad >= _BAD_ROWS_BEFORE_GIVING_UP:
            self.check()

    def check(self) -> None:
        if self.bad > _MAX_BAD_SHARE * self.rows:
            raise InputError(
                f"{self.where}: {self.bad} of {self.rows} rows cannot be rendered, more than "
                f"{_MAX_BAD_SHARE:.0%}; the first is {self.first}"
            )


def _choices(row: int, rendered: RenderedExample) -> Iterator[dict[str, object]]:
    for number, choice in enumerate(rendered.answer_choices or ()):
        yield {
            "idx": (row, number),
            "inputs": _utf8(rendered.inputs),
            "targets": _utf8(choice),
            "is_correct": rendered.accepts(choice),
            "weight": 1.0,
        }


def _utf8(text: str) -> bytes:
    # As in the rendered files: half of a surrogate pair has no bytes, and becomes `?`.
    return text.encode("utf-8", errors="replace")
