"""The card of a run that is handed on in Hugging Face's form: what it was made from, and its scores.

Everything in it is read from the run's own folder and from what its lineage leads to; what is no longer
there is said to be unknown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import instrux
from instrux.data.artefact_checks import links_of
from instrux.data.artefact_search import find_artefacts
from instrux.data.artefacts import Artefact
from instrux.data.packed_manifest import PackedTask, PackManifest, read_manifest
from instrux.data.rendered import stated_licence
from instrux.errors import InputError
from instrux.evaluation.results import FILE_NAME, EvaluationResults, read_results
from instrux.interop.parameters import parameters
from instrux.models.families import ModelConfig, family_of
from tasks.licences import licence

UNKNOWN = "unknown"
_PIPELINES = {"t5": "text2text-generation"}
_OTHER_PIPELINE = "text-generation"


@dataclass(frozen=True, kw_only=True)
class TrainedTask:
    """A task that the run was trained on.

    Attributes:
        packed: its rate, share and counts.
        dataset: `dataset` or `dataset/config`, or `unknown`.
        licence: the licence tag of the dataset, or `unknown`.
    """

    packed: PackedTask
    dataset: str
    licence: str


def card_of(run: Path, *, step: int, config: ModelConfig, dtype: str) -> str:
    """Gives the README.md of a run's weights: front matter, then text.

    Args:
        run: the run's folder.
        step: the checkpoint that is handed on.
        config: the model.
        dtype: of the weights that are written.
    """
    artefact = next(each for each in find_artefacts(run) if each.kind == "run")
    pack = _pack_of(artefact)
    trained = [] if pack is None else _tasks_of(pack)
    sections = [
        f"# {run.absolute().name}",
        _summary(step, config, dtype),
        "## Training",
        _training(artefact, None if pack is None else read_manifest(pack.folder), step),
    ]
    if trained:
        sections += ["## Data", _data(trained), "### Licences", _licences(trained)]
    sections += ["## Evaluation", _evaluation(run, step)]
    front = yaml.safe_dump(_front_matter(trained, config), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def _front_matter(trained: Sequence[TrainedTask], config: ModelConfig) -> dict[str, Any]:
    # Names that the hub knows, as the licence comes from there.
    datasets = sorted({t.dataset.partition("/")[0] for t in trained if t.licence != UNKNOWN})
    return {
        "library_name": "transformers",
        "pipeline_tag": _PIPELINES.get(family_of(config), _OTHER_PIPELINE),
        "tags": ["instruction-tuning", "instrux"],
        **({"datasets": datasets} if datasets else {}),
    }


def _summary(step: int, config: ModelConfig, dtype: str) -> str:
    count = sum(int(np.prod(p.stacked_shape)) for p in parameters(config))
    kind = "An encoder-decoder" if family_of(config) == "t5" else "A decoder-only model"
    return (
        f"{kind} of {count:,} parameters in {dtype}, the checkpoint of step {step:,} of a run of"
        f" Instrux, written by instrux {instrux.__version__}."
    )


def _training(run: Artefact, pack: PackManifest | None, step: int) -> str:
    bases = [source.name for source in run.sources if source.kind in ("checkpoint", "run")]
    known = "random parameters" if run.arguments else UNKNOWN
    rows = [("started from", f"`{bases[0]}`" if bases else known), ("steps", f"{step:,}")]
    for name in ("mixture", "batch_size", "seed"):
        if run.arguments.get(name) is not None:
            rows.append((name.replace("_", " "), f"`{run.arguments[name]}`"))
    if pack is not None:
        lengths = (pack.settings["inputs_length"], pack.settings["targets_length"])
        rows += [
            ("examples packed", f"{pack.examples:,} in {pack.rows:,} rows"),
            ("tokens a row", "{:,} of inputs, {:,} of targets".format(*lengths)),
        ]
        if pack.left_out:
            rows.append(("tasks of the mixture left out", f"{len(pack.left_out):,}"))
    rows += [(f"version of {name}", version) for name, version in sorted(run.versions.items())]
    return _table(("what", "value"), rows)


def _pack_of(run: Artefact) -> Artefact | None:
    for link in links_of(run):
        if link.source.kind == "packed" and link.artefact is not None:
            return link.artefact
    return None


def _tasks_of(pack: Artefact) -> list[TrainedTask]:
    datasets: dict[str, str] = {}
    stated: dict[str, str | None] = {}
    for link in links_of(pack):
        if link.artefact is not None and link.artefact.kind == "rendered":
            task, _, _ = link.artefact.name.partition(", ")
            names = [s.name for s in link.artefact.sources if s.kind == "dataset"]
            folder = link.artefact.folder
            stated[task] = stated_licence(folder.parents[1], folder.name)
            datasets[task] = names[0].partition(", ")[0] if names else UNKNOWN
    found = []
    for packed in read_manifest(pack.folder).tasks:
        dataset = datasets.get(packed.name, UNKNOWN)
        name, _, config = dataset.partition("/")
        tag = licence(name, config or None) or stated.get(packed.name) or UNKNOWN
        found.append(TrainedTask(packed=packed, dataset=dataset, licence=tag))
    return found


def _data(trained: Sequence[TrainedTask]) -> str:
    return _table(
        ("task", "dataset", "rate", "share", "examples", "licence"),
        [
            (
                f"`{task.packed.name}`",
                task.dataset,
                f"{task.packed.rate:,.10g}",
                f"{task.packed.share:.4%}",
                f"{task.packed.examples:,}",
                task.licence,
            )
            for task in trained
        ],
    )


def _licences(trained: Sequence[TrainedTask]) -> str:
    shares: dict[str, float] = {}
    for task in trained:
        shares[task.licence] = shares.get(task.licence, 0.0) + task.packed.share
    rows = sorted(shares.items(), key=lambda each: (-each[1], each[0]))
    table = _table(("licence of the data", "share"), [(n, f"{s:.2%}") for n, s in rows])
    return (
        f"{table}\n\nTags of the datasets' cards on the hub; `{UNKNOWN}` where none is known here. What they, and"
        " the licence of the parameters that training started from, mean for these weights is for whoever"
        " publishes them to find out; no licence is declared above."
    )


def _evaluation(run: Path, step: int) -> str:
    path = run / "eval" / str(step) / FILE_NAME
    try:
        results = read_results(path) if path.is_file() else None
    except InputError:
        results = None
    if results is None:
        return "Not evaluated, as far as the run's folder knows."
    rows = [
        (
            summary.group,
            summary.name or "all",
            summary.metric,
            f"{summary.score:.1f}",
            f"{summary.interval.low:.1f} to {summary.interval.high:.1f}",
            f"{summary.baseline:.1f}",
            f"{summary.num_prompts:,}",
        )
        for summary in results.summaries
        if summary.scope in ("dataset", "group")
    ]
    headings = ("group", "what", "metric", "score", "95 %", "without understanding", "prompts")
    return f"{_protocol(results)}\n\n{_table(headings, rows)}"


def _protocol(results: EvaluationResults) -> str:
    return (
        f"{len(results.tasks):,} prompts, in percent: the median over the prompts of a dataset; of a group, the mean"
        " over its datasets; with a bootstrap over examples and prompts."
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
