"""What a packed dataset was asked to be (`PackSettings`) and what it became (`PackManifest`)."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrux.data.excluded import read_excluded
from instrux.data.left_out import LeftOutTask
from instrux.data.packed_rows import RowLayout
from instrux.data.seal import seal_holds, sealed
from instrux.data.typed_json import require_types
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError

MANIFEST_NAME = "manifest.json"
COMPLETED_NAME = "COMPLETED"
FORMAT = 2
"""Raised whenever the bytes of a packed dataset change for the same settings. 2 fills rows by
another rule than 1; both are read alike."""

_FORMATS_READ = (1, FORMAT)


_EXAMPLES_A_SHARD = 100_000
_CHOICES = (
    "leave_out",
    "leave_out_missing",
    "leave_out_emptied",
    "exclude",
    "one_example_a_row",
    "joined",
)


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """What a packed dataset is made to be.

    Attributes:
        mixture: name of the mixture (or of a lone task); names the folder.
        inputs_length: encoder positions a row; longer inputs are cut.
        targets_length: decoder positions a row; longer targets are cut, and still end with the
            end-of-sequence id.
        vocabulary: what the text is tokenised with.
        num_examples: examples taken in all, repeats counted.
        split: the rendered split that is read.
        seed: chooses the examples that are repeated and the order of all.
        num_shards: files written; each is packed in one piece on one worker. None makes one for
            every 100,000 examples, which take some 100 MB of memory at 512 and 128 tokens.
        inputs_eos: whether inputs end with the end-of-sequence id (T0: they do not).
        leave_out: globs over names of tasks and datasets that are not packed.
        leave_out_missing: whether tasks that are not rendered, or have no example in the split,
            are left out; otherwise one is an error.
        leave_out_emptied: whether tasks are left out of which lists of rows leave nothing; otherwise
            one is an error.
        exclude: lists of rows that are not packed (`excluded`), such as an audit writes.
        one_example_a_row: whether every example has a row of its own, so that a batch of n rows is
            one of n examples, as papers count; otherwise rows are filled.
        joined: whether a row is one sequence, each example's inputs and targets one after the
            other, for decoder-only models: it has `inputs_length + targets_length` positions, all of
            which may be filled. Examples are cut as otherwise.
    """

    mixture: str
    inputs_length: int
    targets_length: int
    vocabulary: VocabularySpec
    num_examples: int
    split: str = "train"
    seed: int = 0
    num_shards: int | None = None
    inputs_eos: bool = False
    leave_out: tuple[str, ...] = ()
    leave_out_missing: bool = False
    leave_out_emptied: bool = False
    exclude: tuple[str, ...] = ()
    one_example_a_row: bool = False
    joined: bool = False

    def __post_init__(self) -> None:
        lists = [self.exclude] if isinstance(self.exclude, str) else self.exclude
        object.__setattr__(self, "exclude", tuple(map(str, lists)))
        patterns = [self.leave_out] if isinstance(self.leave_out, str) else self.leave_out
        object.__setattr__(self, "leave_out", tuple(sorted(set(patterns))))
        for name in ("inputs_length", "targets_length", "num_examples", "shard_count"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"pack {self.mixture}: {name} is {getattr(self, name)}; give 1 or more"
                )
        if self.shard_count > self.num_examples:
            raise InputError(
                f"pack {self.mixture}: num_shards is {self.num_shards} for {self.num_examples} "
                "examples; give at most one shard an example"
            )

    @property
    def shard_count(self) -> int:
        """Number of files written."""
        if self.num_shards is None:
            return math.ceil(self.num_examples / _EXAMPLES_A_SHARD)
        return self.num_shards

    def identity(self) -> dict[str, Any]:
        """Gives what the bytes depend on; files count by their content, not by their paths.

        Raises:
            InputError: the vocabulary's file or a list of rows cannot be read.
        """
        settings = dataclasses.asdict(self)
        settings["num_shards"] = self.shard_count
        settings["vocabulary"] = {
            "digest": self.vocabulary.digest(),
            "extra_ids": self.vocabulary.extra_ids,
        }
        settings["format"] = FORMAT
        # What leaves nothing out and fills its rows has the identity that it had before there was a
        # choice.
        settings["leave_out"] = list(self.leave_out)
        settings["exclude"] = read_excluded(self.exclude).digest if self.exclude else ""
        for name in _CHOICES:
            if not settings[name]:
                del settings[name]
        return settings

    def folder(self, data_dir: str | Path) -> Path:
        """Gives `<data_dir>/packed/<mixture>-<12 digits of the settings' hash>`.

        Raises:
            InputError: the vocabulary's file or a list of rows cannot be read.
        """
        identity = json.dumps(self.identity(), sort_keys=True)
        digits = hashlib.sha256(identity.encode()).hexdigest()[:12]
        return Path(data_dir) / "packed" / f"{self.mixture}-{digits}"


@dataclass(frozen=True, kw_only=True)
class PackedTask:
    """What one task contributed.

    Attributes:
        name: the task's name.
        rate: the rate asked for, as given.
        share_asked: the rate over the sum of rates.
        share: examples of the task over examples of all.
        examples: examples taken, repeats counted.
        available: examples that the task has, those excluded not counted.
        inputs_tokens: encoder tokens of the task, after truncation.
        targets_tokens: decoder tokens of the task, after truncation.
        inputs_truncated: examples whose inputs were cut.
        targets_truncated: examples whose targets were cut.
        source_digest: digest of the manifest of the rendered split that was read.
        excluded: examples that are not packed because a list of rows names them.
    """

    name: str
    rate: float
    share_asked: float
    share: float
    examples: int
    available: int
    inputs_tokens: int
    targets_tokens: int
    inputs_truncated: int
    targets_truncated: int
    source_digest: str
    excluded: int = 0

    @property
    def epochs(self) -> float:
        """How often an example of the task is taken, on average."""
        return self.examples / self.available


@dataclass(frozen=True, kw_only=True)
class PackedShard:
    """One ArrayRecord file: its name, rows, size in bytes and sha256."""

    name: str
    rows: int
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PackManifest:
    """What a packed dataset holds.

    Attributes:
        settings: `PackSettings.identity()` of what was asked for.
        vocabulary_path: where the vocabulary lay; only the digest in `settings` counts.
        vocab_size: token ids are below it.
        tasks: in the order of their numbers (`decoder_task_ids`).
        shards: in the order of their rows.
        rows: packed rows in all.
        examples: examples in all, repeats counted.
        inputs_efficiency: share of encoder positions that hold a token; of joined rows, share of
            all positions that hold one of inputs.
        targets_efficiency: likewise of decoder positions and targets.
        rows_lower_bound: no packing of these examples has fewer rows, were they all in one shard
            (`packing_bounds.lower_bound`).
        instrux_version: the version that packed.
        left_out: tasks of the mixture that were not packed, with the share that each had.
        versions: package -> version that packed.
    """

    settings: dict[str, Any]
    vocabulary_path: str | None
    vocab_size: int
    tasks: tuple[PackedTask, ...]
    shards: tuple[PackedShard, ...]
    rows: int
    examples: int
    inputs_efficiency: float
    targets_efficiency: float
    rows_lower_bound: int
    instrux_version: str
    left_out: tuple[LeftOutTask, ...] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def layout(self) -> RowLayout:
        """How a row lies on disk."""
        return RowLayout(
            inputs_length=self.settings["inputs_length"],
            targets_length=self.settings["targets_length"],
            vocab_size=self.vocab_size,
            num_tasks=len(self.tasks),
            joined=self.settings.get("joined", False),
        )

    @property
    def tokens_a_row(self) -> float:
        """Tokens that a row holds, on average."""
        inputs, targets = self.layout.open_to
        return inputs * self.inputs_efficiency + targets * self.targets_efficiency

    @property
    def filled(self) -> str:
        """In words, how full the rows are."""
        if self.settings.get("joined", False):
            return f"{self.tokens_a_row / self.layout.row_length:.1%} of positions hold a token"
        return (
            f"{self.inputs_efficiency:.1%} of encoder and {self.targets_efficiency:.1%} of decoder"
            " positions hold a token"
        )

    @property
    def gap(self) -> float:
        """Rows above the lower bound, as a share of the bound."""
        return self.rows / self.rows_lower_bound - 1 if self.rows_lower_bound else 0.0

    def to_json(self) -> str:
        """Gives the manifest as JSON, the same text for the same content."""
        content = sealed(dataclasses.asdict(self) | {"gap": self.gap})
        return json.dumps(content, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "PackManifest":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is not such a manifest (`KeyError` and `TypeError` included).
        """
        try:
            content = json.loads(text)
            if seal_holds(content) is False:
                raise ValueError("it is damaged: a byte of it changed")
            del content["gap"]
            content.pop("digest", None)
            content["tasks"] = tuple(PackedTask(**task) for task in content["tasks"])
            content["left_out"] = tuple(LeftOutTask(**task) for task in content.get("left_out", ()))
            content["shards"] = tuple(PackedShard(**shard) for shard in content["shards"])
            manifest = cls(**content)
            require_types(manifest)
            return manifest
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a manifest of a packed dataset: {error!r}") from error

    def require_readable(self) -> None:
        """Checks what reading the rows relies on.

        Raises:
            ValueError: no packed dataset can be so.
        """
        lengths = [self.settings.get(name) for name in ("inputs_length", "targets_length")]
        sizes = [*lengths, self.vocab_size, len(self.tasks)]
        if not all(isinstance(size, int) and 0 < size < 2**31 for size in sizes):
            raise ValueError(f"its lengths, vocabulary and tasks are {sizes}")
        vocabulary = self.settings.get("vocabulary")
        if not isinstance(vocabulary, dict) or not {"digest", "extra_ids"} <= set(vocabulary):
            raise ValueError(f"its vocabulary is {vocabulary}")
        if any(shard.rows < 0 or Path(shard.name).name != shard.name for shard in self.shards):
            raise ValueError("a shard has less than no row, or a name that is none")
        if sum(shard.rows for shard in self.shards) != self.rows:
            raise ValueError("its shards have other rows than it says")


def read_manifest(folder: str | Path) -> PackManifest:
    """Reads the manifest of a complete packed dataset.

    Raises:
        InputError: the folder is absent, was not completed, or holds a format that is not read.
    """
    folder = Path(folder)
    path = folder / MANIFEST_NAME
    if not folder.is_dir():
        raise InputError(f"{folder}: no packed dataset here; `instrux pack` makes it")
    if not (folder / COMPLETED_NAME).exists():
        raise InputError(
            f"{folder}: the packed dataset was not completed; run `instrux pack` again"
        )
    try:
        manifest = PackManifest.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); run `instrux pack` again"
        ) from error
    if manifest.settings.get("format") not in _FORMATS_READ:
        raise InputError(
            f"{folder}: packed in format {manifest.settings.get('format')}, this version reads "
            f"{' and '.join(map(str, _FORMATS_READ))}; "
            "run `instrux pack` again"
        )
    return manifest
