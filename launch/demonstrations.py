"""The stage `demonstrations`, and the tables that it shows."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from instrux.data.demonstration_formats import DemonstrationInput
from instrux.data.demonstration_settings import DemonstrationSettings
from instrux.data.demonstration_stages import FewShotForm, LengthLimits, SplitShares
from instrux.data.personal_data import DEFAULT_KINDS
from instrux.data.presidio_finder import MODEL
from instrux.data.vocabularies import VocabularySpec

_NARROWEST = 120


def demonstrations(
    *,
    inputs: Sequence[str],
    name: str,
    data_dir: str,
    vocabulary: str | VocabularySpec = "gpt2",
    max_prompt_tokens: int | None = None,
    max_completion_tokens: int | None = None,
    max_tokens: int | None = 2048,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    declared_splits: bool = False,
    prefix_tokens: int = 64,
    prompts_a_user: int = 200,
    personal_data: str = "patterns",
    personal_data_kinds: Sequence[str] = DEFAULT_KINDS,
    personal_data_model: str = MODEL,
    detect_languages: bool = False,
    languages: Sequence[str] = (),
    few_shot_expansions: int = 8,
    max_shots: int = 5,
    separator: str = "",
    seed: int = 0,
    num_shards: int | None = None,
    max_bad_share: float = 0.01,
    licence: str | None = None,
    beam_args: Sequence[str] = (),
    as_json: bool = False,
) -> Any:
    """Prepares files of demonstrations as a rendered task, and shows the paper's tables.

    Args:
        inputs: each `FORMAT=PATH`, or `FORMAT:SOURCE:KIND=PATH`.
        name: of the set: its task is `demonstrations_<name>`, its mixture `sft_<name>`.
        data_dir: folder that gets `rendered/` and `demonstrations/`.
        vocabulary: what counts tokens.
        max_prompt_tokens: a longer prompt is left out; None for any length.
        max_completion_tokens: likewise for the completion with its end of text.
        max_tokens: likewise for both together.
        validation_share: share of the users.
        test_share: share of the users.
        declared_splits: whether a split that a row brings counts.
        prefix_tokens: words and marks that near-duplicates share at the start.
        prompts_a_user: at most.
        personal_data: `patterns`, `presidio` or `keep`.
        personal_data_kinds: what the patterns look for, or `presidio` by its names of entities.
        personal_data_model: the spaCy model that `presidio` takes: a package or a folder.
        detect_languages: whether to find out languages that rows do not say.
        languages: those that stay; all where empty.
        few_shot_expansions: prompts made of one few-shot instruction at most.
        max_shots: pairs shown in one of them at most.
        separator: stands between prompt and completion.
        seed: of all choices.
        num_shards: files a split; chosen from the number of rows where None.
        max_bad_share: share of rows that may be unreadable before the job fails.
        licence: the tag of the set's licence, such as `cc-by-4.0`; that of the published sets whose
            formats the inputs have where None.
        beam_args: options for Beam.
        as_json: print the counts as JSON in place of tables.

    Raises:
        InputError: an input, a setting or a folder is wrong.
    """
    from pipelines.demonstrations import demonstrations as prepare

    spec = VocabularySpec.parse(vocabulary) if isinstance(vocabulary, str) else vocabulary
    settings = DemonstrationSettings(
        inputs=tuple(map(DemonstrationInput.parse, inputs)),
        name=name,
        vocabulary=spec,
        limits=LengthLimits(max_prompt_tokens, max_completion_tokens, max_tokens),
        shares=SplitShares(validation_share, test_share),
        declared_splits=declared_splits,
        prefix_tokens=prefix_tokens,
        prompts_a_user=prompts_a_user,
        personal_data=personal_data,
        personal_data_kinds=tuple(personal_data_kinds),
        personal_data_model=personal_data_model,
        detect_languages=detect_languages,
        languages=tuple(languages),
        few_shot=FewShotForm(expansions=few_shot_expansions, max_shots=max_shots),
        separator=separator,
        seed=seed,
        num_shards=num_shards,
        licence=licence,
    )
    result = prepare(settings, data_dir=data_dir, beam_args=beam_args, max_bad_share=max_bad_share)
    if as_json:
        print(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
    else:
        _show(result.to_json())
    return result


def _show(said: Mapping[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _NARROWEST)  # a log file has no width of its own
    tables = said["tables"]
    console.print(f"{said['task']}: {said['counts']['examples']:,} demonstrations", markup=False)
    console.print(_counts("prompts by source", tables["sizes"]))
    console.print(_counts("by kind", tables["kinds"]))
    console.print(_counts("by use case", tables["use_cases"], shares=True))
    for title, name in (("labels", "labels"), ("known users", "users"), ("languages", "languages")):
        if any(tables[name].values()):
            console.print(_counts(title, tables[name]))
    console.print(_lengths(tables["lengths"]))
    for title, counts in (
        ("rows read", said["rows"]),
        ("left out", said["dropped"]),
        ("personal data removed from training", said["personal_data"]),
    ):
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"
        console.print(f"{title}: {told}", markup=False)
    if tables["empty_completions"]:
        console.print(f"empty completions, kept: {tables['empty_completions']:,}", markup=False)
    console.print(f"licence: {said.get('licence', 'unknown')}", markup=False)
    console.print(f"Folder: {said['folder']}", markup=False)


def _counts(
    title: str, by_split: Mapping[str, Mapping[str, int]], *, shares: bool = False
) -> Table:
    table = Table(box=SIMPLE, title=title, title_justify="left")
    table.add_column("")
    for split in by_split:
        table.add_column(split, justify="right")
    for value in dict.fromkeys(name for counts in by_split.values() for name in counts):
        cells = [_cell(counts, value, shares=shares) for counts in by_split.values()]
        table.add_row(value, *cells)
    return table


def _cell(counts: Mapping[str, int], value: str, *, shares: bool) -> str:
    count = counts.get(value, 0)
    return f"{count:,} ({100 * count / sum(counts.values()):.1f} %)" if shares else f"{count:,}"


def _lengths(by_split: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    table = Table(box=SIMPLE, title="lengths in tokens", title_justify="left")
    figures = ("n", "mean", "sd", "min", "25%", "50%", "75%", "max")
    for heading in ("split", "of", "side"):
        table.add_column(heading)
    for heading in figures:
        table.add_column(heading, justify="right")
    for split, rows in by_split.items():
        for row in rows:
            cells = [f"{row[figure]:,.0f}" for figure in figures]
            table.add_row(split, row["of"], row["side"], *cells)
    return table
