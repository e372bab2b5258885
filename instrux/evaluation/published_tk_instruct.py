"""Published ROUGE-L of Tk-Instruct and what it is compared with, each with its source.

The paper (arXiv 2204.07705, third version) and the README of the released code disagree in places,
by two points for the 11B model: both stand here. Figures that nobody could read again are left out.
"""

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_name("published_tk_instruct.csv")


@dataclass(frozen=True)
class PublishedScore:
    """One published score.

    Attributes:
        system: whose it is.
        setting: the encoding, or what a plot varies.
        track: `default` or `xlingual`.
        value: ROUGE-L over all test instances of the track, percent.
        source: `paper` or `README`.
    """

    system: str
    setting: str
    track: str
    value: float
    source: str


@functools.cache
def published_scores() -> tuple[PublishedScore, ...]:
    """Gives all rows, in the order of the table."""
    with _FILE.open(encoding="utf-8", newline="") as lines:
        return tuple(
            PublishedScore(
                system=row["system"],
                setting=row["setting"],
                track=row["track"],
                value=float(row["value"]),
                source=row["source"],
            )
            for row in csv.DictReader(lines)
        )


def results_table(track: str) -> list[PublishedScore]:
    """Gives the rows of the paper's main table for a track, one a system and source."""
    settings = ("heuristic", "instruct_pos_2_input", "supervised")
    return [row for row in published_scores() if row.track == track and row.setting in settings]
