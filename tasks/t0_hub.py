"""Where T0's data lies today: the table `t0_hub.csv`, a row for each of the 66 data(sub)sets.

T0 named its data by the Hugging Face hub's names of 2021. Since then the hub has moved every one of
them under the name of an owner, and no longer runs loading scripts. Fields that have other names or
label numbers today stand in `t0_hub_fields.csv`, values as JSON.
"""

import csv
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from instrux.data.hub_location import FieldChange, HubLocation, ManualFiles
from instrux.data.sources import HuggingFaceSource

_FOLDER = Path(__file__).parent
_ROWS_FILE = _FOLDER / "t0_hub.csv"
_FIELDS_FILE = _FOLDER / "t0_hub_fields.csv"

Key = tuple[str, str | None]

_MANUAL: dict[Key, ManualFiles] = {
    ("story_cloze", "2016"): ManualFiles(
        how="ask for the Story Cloze Test of spring 2016 by the form at "
        "https://cs.rochester.edu/nlp/rocstories/",
        names=(
            ("cloze_test_val__spring2016 - cloze_test_ALL_val.csv", "validation"),
            ("cloze_test_test__spring2016 - cloze_test_ALL_test.csv", "test"),
        ),
    ),
    ("jigsaw_toxicity_pred", None): ManualFiles(
        how="fetch it from Kaggle's Toxic Comment Classification Challenge",
        names=(("train.csv", "train"), ("test.csv", "test")),
    ),
}


@dataclass(frozen=True)
class HubRow:
    """Where a data(sub)set lies on the Hugging Face hub.

    Attributes:
        dataset: T0's name of it, the hub's in 2021.
        subset: its configuration in T0's table, or None.
        repository: the hub's present name, `owner/name`.
        config: its present configuration; None is the repository's only one.
        revision: the commit that is read, where one could be seen, or else the branch.
        conversion: whether that is a commit or the branch of the hub's own Parquet conversion,
            because `main` has a loading script only.
        licence: the licence tag of the dataset's card, `unknown` where the card says so or has
            none.
        manual: whether its files must be had by hand, as from a form.
        checked: how the row was checked: `search` (stored pages of the hub, or public code and
            notes that name the repository), `offline` (rows of it at hand) or `no`. None could be
            checked against the hub itself.
        source: what was seen there.
    """

    dataset: str
    subset: str | None
    repository: str
    config: str | None
    revision: str
    conversion: bool
    licence: str
    manual: bool
    checked: Literal["search", "offline", "no"]
    source: str

    @property
    def location(self) -> HubLocation:
        """The row as a source needs it, with what became of the fields."""
        key = self.dataset, self.subset
        return HubLocation(
            repository=self.repository,
            config=self.config,
            revision=self.revision,
            conversion=self.conversion,
            changes=_changes().get(key, ()),
            manual=_MANUAL.get(key) if self.manual else None,
        )


@functools.cache
def hub_rows() -> dict[Key, HubRow]:
    """Gives the table by (dataset, subset), in the order of `tasks.t0_table.datasets`."""
    rows = [_row(fields) for fields in _read(_ROWS_FILE)]
    return {(row.dataset, row.subset): row for row in rows}


@functools.cache
def source(dataset: str, subset: str | None = None) -> HuggingFaceSource:
    """Gives the source of one of T0's data(sub)sets: its name of 2021, read where it lies today."""
    return HuggingFaceSource(dataset, subset, location=hub_rows()[dataset, subset].location)


def licence(dataset: str, subset: str | None = None) -> str | None:
    """Gives the licence tag of one of T0's data(sub)sets, None for any other dataset."""
    row = hub_rows().get((dataset, subset))
    return None if row is None else row.licence


def _row(fields: dict[str, str]) -> HubRow:
    return HubRow(
        dataset=fields["dataset"],
        subset=fields["subset"] or None,
        repository=fields["repository"],
        config=fields["config"] or None,
        revision=fields["revision"],
        conversion=fields["conversion"] == "1",
        licence=fields["licence"],
        manual=fields["manual"] == "1",
        checked=fields["checked"],  # type: ignore[arg-type]
        source=fields["source"],
    )


@functools.cache
def _changes() -> dict[Key, tuple[FieldChange, ...]]:
    """The changed fields of every data(sub)set that has any."""
    values: dict[Key, dict[tuple[str, str], list[tuple[object, object]]]] = {}
    for fields in _read(_FIELDS_FILE):
        of_set = values.setdefault((fields["dataset"], fields["subset"] or None), {})
        of_field = of_set.setdefault((fields["present_field"], fields["field"]), [])
        if fields["present_value"]:
            of_field.append((json.loads(fields["present_value"]), json.loads(fields["value"])))
    return {
        key: tuple(
            FieldChange(present, wanted, tuple(pairs))
            for (present, wanted), pairs in of_set.items()
        )
        for key, of_set in values.items()
    }


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
