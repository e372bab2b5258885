"""What is exported of a mixture, and how."""

import dataclasses
from pathlib import Path

from instrux.data.export_files import Format, check_format
from instrux.data.files import as_path
from instrux.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportTask:
    """A task of the mixture.

    Attributes:
        name: its name in the mixture.
        rendered: its name among the rendered tasks, which a twin for rank classification shares.
        rate: its mixing rate.
        dataset: `dataset` or `dataset/config`.
        licence: the licence tag of its dataset, or None.
    """

    name: str
    rendered: str
    rate: float
    dataset: str
    licence: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What is exported, and how.

    Attributes:
        mixture: the mixture's name.
        format: `jsonl` or `parquet`.
        split: the rendered split.
        num_examples: rows in all, drawn by the rates and shuffled; None is every rendered example
            once, task after task.
        seed: chooses examples and their order, where they are drawn.
        shard_size: rows a file.
        leave_out: globs over names of tasks and datasets that are not exported.
        leave_out_missing: whether tasks that are not rendered are left out.
        leave_out_emptied: whether tasks are left out of which lists of rows leave nothing; otherwise
            one is an error.
        exclude: lists of rows that are not exported (`excluded`), such as an audit writes.
    """

    mixture: str
    format: Format
    split: str = "train"
    num_examples: int | None = None
    seed: int = 0
    shard_size: int = 100_000
    leave_out: tuple[str, ...] = ()
    leave_out_missing: bool = False
    leave_out_emptied: bool = False
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(map(str, self.exclude)))
        check_format(self.format)
        for name in ("num_examples", "shard_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"export {self.mixture}: {name} is {value}; give 1 or more")

    def folder(self, data_dir: str | Path) -> Path:
        """Where it goes if no other folder is named."""
        drawn = "" if self.num_examples is None else f"-{self.num_examples}-seed{self.seed}"
        return as_path(data_dir) / "exported" / f"{self.mixture}-{self.split}{drawn}-{self.format}"
