"""What is audited, and how."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrux.data.files import as_path
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError

FORMAT = 1
"""Raised whenever the same settings give other results."""


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """What is audited, and how.

    Attributes:
        mixture: name of the mixture (or of a lone task); names the folder.
        vocabulary: what lengths are counted with.
        split: the rendered split that is read.
        inputs_length: tokens of inputs that training keeps.
        targets_length: tokens of targets that training keeps, the end of sequence among them.
        inputs_eos: whether inputs end with the end of sequence, which takes a token of theirs.
        near_duplicates: whether near duplicates are looked for, which takes most of the time.
        likeness: Jaccard likeness of their sets of shingles from which two rows are near
            duplicates, as usual since arXiv 2107.06499.
        shingle_words: words of a shingle.
        bands: keys of a row; rows that share one are compared.
        band_rows: hash functions behind a key.
        most_compared: where more rows than this share a key, each is compared with this many.
        overlap_sizes: words of the n-grams that train and held-out rows must not share.
        overlap_most_rows: n-grams that more held-out rows than this share count for nothing.
        held_out_splits: rendered splits of the held-out tasks that are read, those there are.
        leave_out: globs over names of tasks and datasets that are not audited.
        leave_out_missing: whether tasks that are not rendered are left out.
        seed: of the hash functions.
    """

    mixture: str
    vocabulary: VocabularySpec
    split: str = "train"
    inputs_length: int = 1024
    targets_length: int = 256
    inputs_eos: bool = False
    near_duplicates: bool = True
    likeness: float = 0.8
    shingle_words: int = 5
    bands: int = 20
    band_rows: int = 6
    most_compared: int = 100
    overlap_sizes: tuple[int, ...] = (8, 13)
    overlap_most_rows: int = 10
    held_out_splits: tuple[str, ...] = ("validation", "test")
    leave_out: tuple[str, ...] = ()
    leave_out_missing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("overlap_sizes", "held_out_splits", "leave_out"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise InputError(f"audit {self.mixture}: {name} is {value!r}; give a list of them")
            object.__setattr__(self, name, tuple(dict.fromkeys(value)))
        counts = (
            "inputs_length",
            "targets_length",
            "shingle_words",
            "bands",
            "band_rows",
            "most_compared",
            "overlap_most_rows",
        )
        wrong = {name: getattr(self, name) for name in counts if getattr(self, name) < 1}
        if any(n < 1 for n in self.overlap_sizes):
            wrong["overlap_sizes"] = min(self.overlap_sizes)
        for name, value in wrong.items():
            raise InputError(f"audit {self.mixture}: {name} is {value}; give 1 or more")
        if not 0 < self.likeness <= 1:
            raise InputError(
                f"audit {self.mixture}: likeness is {self.likeness}; give a share above 0, at most 1"
            )

    @property
    def inputs_room(self) -> int:
        """Tokens of text that training keeps of inputs."""
        return self.inputs_length - self.inputs_eos

    @property
    def targets_room(self) -> int:
        """Tokens of text that training keeps of targets."""
        return self.targets_length - 1

    def identity(self) -> dict[str, Any]:
        """Gives what the results depend on besides the rows; a vocabulary counts by its content.

        Raises:
            InputError: the vocabulary's file cannot be read.
        """
        settings = dataclasses.asdict(self)
        settings["vocabulary"] = {
            "digest": self.vocabulary.digest(),
            "extra_ids": self.vocabulary.extra_ids,
        }
        return settings | {"format": FORMAT}

    def folder(self, data_dir: str | Path) -> Path:
        """Gives `<data_dir>/audit/<mixture>-<12 digits of the settings' hash>`.

        Raises:
            InputError: the vocabulary's file cannot be read.
        """
        identity = json.dumps(self.identity(), sort_keys=True)
        digits = hashlib.sha256(identity.encode()).hexdigest()[:12]
        return as_path(data_dir) / "audit" / f"{self.mixture}-{digits}"


@dataclass(frozen=True, kw_only=True)
class AuditTask:
    """A task of the mixture.

    Attributes:
        name: its name in the mixture.
        rendered: its name among the rendered tasks, which a twin for rank classification shares.
        rate: its mixing rate.
        dataset: `dataset` or `dataset/config`.
        licence: the licence tag of its dataset, or None where none is known.
    """

    name: str
    rendered: str
    rate: float
    dataset: str
    licence: str | None = None
