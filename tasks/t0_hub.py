"""Where T0's data lies today: the table `t0_hub.csv`, a row for each of the 66 data(sub)sets.

T0 named its data by the Hugging Face hub's names of 2021. Since then the hub has moved every one of
them under the name of an owner, and no longer runs loading scripts.
"""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_FILE = Path(__file__).with_name("t0_hub.csv")


@dataclass(frozen=True)
class HubRow:
    """Where a data(sub)set lies on the Hugging Face hub.

    Attributes:
        dataset: T0's name of it, the hub's in 2021.
        subset: its configuration in T0's table, or None.
        repository: the hub's present name, `owner/name`.
        config: its present configuration; None is the repository's only one.
        revision: the branch that is read: `main`, or `refs/convert/parquet` where `main` has a
            loading script only.
        licence: the licence tag of the dataset's card, `unknown` where the card says so.
        manual: whether its files must be had by hand, as from a form.
        checked: how the row was checked: `search` (a stored copy of the hub's page), `offline`
            (rows of it at hand) or `no`.
        source: where the fact was seen.
    """

    dataset: str
    subset: str | None
    repository: str
    config: str | None
    revision: str
    licence: str
    manual: bool
    checked: Literal["search", "offline", "no"]
    source: str


@functools.cache
def hub_rows() -> dict[tuple[str, str | None], HubRow]:
    """Gives the table by (dataset, subset), in the order of `tasks.t0_table.datasets`."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        rows = [_row(fields) for fields in csv.DictReader(file)]
    return {(row.dataset, row.subset): row for row in rows}


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
        licence=fields["licence"],
        manual=fields["manual"] == "1",
        checked=fields["checked"],  # type: ignore[arg-type]
        source=fields["source"],
    )
