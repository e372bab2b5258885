"""An audit's report: one self-contained HTML page, without script and without network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from instrux.evaluation import audit_plots
from instrux.evaluation.drawing import Drawing

_NEARLY_CONSTANT = 0.95
_MOST_PAIRS = 25


@dataclass(frozen=True)
class Section:
    """A figure with its heading and what to make of it."""

    title: str
    drawing: Drawing | None
    caption: str
    note: str = ""


def audit_page(
    results: Mapping[str, Any], samples: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """Gives the page.

    Args:
        results: the content of an audit's `results.json`.
        samples: the first lines of its lists of rows, by the lists' names.
    """
    return _template().render(
        results=results,
        findings=findings(results),
        sections=_sections(results),
        samples=samples,
        pairs={
            name: found["by_task"][:_MOST_PAIRS]
            for name in ("exact_duplicates", "near_duplicates")
            if (found := results["duplicates"][name])
        },
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("audit_report.html")


def findings(results: Mapping[str, Any]) -> list[str]:
    """What a reader must know first, a sentence each."""
    totals, tasks = results["totals"], results["tasks"]
    found = []
    for side in ("inputs", "targets"):
        cut = totals[side]
        found.append(
            f"{cut['cut_examples_share']:.2%} of examples have {side} longer than training keeps, "
            f"and lose {cut['cut_tokens_share']:.2%} of all tokens of {side}."
        )
    for name, word in (("exact_duplicates", "exact"), ("near_duplicates", "near")):
        if repeats := results["duplicates"][name]:
            found.append(
                f"{repeats['rows']:,} examples ({repeats['share']:.2%}) are {word} duplicates of an "
                f"earlier one: {repeats['within']:,} in their own task, {repeats['across']:,} in "
                "another."
            )
    for n, size in results["overlap"]["sizes"].items():
        found.append(
            f"{size['train_rows']:,} examples ({size['train_share']:.2%}) share {n} words in a row "
            f"with {size['held_out_rows']:,} held-out rows ({size['held_out_share']:.2%} of them)."
        )
    if not results["overlap"]["sizes"]:
        found.append("Overlap with held-out rows is not known: none were looked at.")
    if totals["missing_choice"]:
        found.append(f"{totals['missing_choice']:,} targets are none of their answer choices.")
    if totals["empty_targets"]:
        found.append(f"{totals['empty_targets']:,} targets are empty.")
    constant = [task["task"] for task in tasks if task["constant"]]
    if constant:
        found.append(f"{_tasks(constant)} always the same target: {_some(constant)}.")
    nearly = [
        task["task"]
        for task in tasks
        if not task["constant"] and task["most_frequent_share"] > _NEARLY_CONSTANT
    ]
    if nearly:
        found.append(f"{_tasks(nearly)} one target in over 95 % of examples: {_some(nearly)}.")
    unknown = [each for each in results["licences"] if each["licence"] == "unknown"]
    if unknown:
        found.append(f"The licences of {len(unknown[0]['datasets']):,} datasets are unknown.")
    return found


def _tasks(names: Sequence[str]) -> str:
    return "1 task has" if len(names) == 1 else f"{len(names):,} tasks have"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _sections(results: Mapping[str, Any]) -> list[Section]:
    sizes = results["overlap"]["sizes"]
    ignored = ", ".join(f"{size['ngrams_ignored']:,} of {n} words" for n, size in sizes.items())
    every = [
        Section(
            "Lengths",
            audit_plots.lengths(results),
            "Thick: 5 to 95 % of examples; thin: up to the longest; dot: median; broken line: what "
            "training keeps. A dataset's figures are means over its tasks.",
        ),
        Section("Truncation", audit_plots.truncation(results), "Datasets with any cut example."),
        Section(
            "Shares",
            audit_plots.shares(results),
            "What the rates ask for in examples, and what that comes to in tokens once long "
            "examples are cut.",
        ),
        Section(
            "Duplicates",
            audit_plots.duplicates(results),
            "An example counts where an earlier one of the mixture is the same, or nearly. One row "
            "under two templates is no near duplicate.",
        ),
        Section(
            "Overlap with held-out rows",
            audit_plots.overlap(results),
            "Held-out rows with at least one n-gram of words that a training example has, too.",
            f"N-grams that more than {results['settings']['overlap_most_rows']} held-out rows "
            f"share are a template's own text and do not count: {ignored}. Word n-grams of 8 to 13, "
            "punctuation and case ignored, are GPT-3's measure (arXiv 2005.14165, appendix C)."
            if sizes
            else "",
        ),
        Section(
            "Labels",
            audit_plots.labels(results),
            "Tasks with answer choices and at most 64 different targets, least balanced first.",
        ),
    ]
    return [section for section in every if section.drawing is not None]
