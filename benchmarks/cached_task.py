"""Tasks that `cache_tasks.py` and `mixture_start.py` register in their children.

Importing it registers what the folder named by the environment variable INSTRUX_BENCHMARK_FOLDER
describes in `tasks.json`: for each task its files of rows. `made_*` is a prompted task on JSON
lines, as a user of ours writes it; `lines_*` is the same text as tab-separated lines through SeqIO's
own `TextLineDataSource`, as SeqIO's documentation shows it.
"""

import json
import os
from pathlib import Path
from typing import Any

import seqio

from instrux.data import registration
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.prompts import Template

TEMPLATE = Template(name="plain", jinja="{{prompt}} ||| {{answer}}")


def prompted(name: str, json_paths: list[str]) -> PromptedTask:
    """Ours."""
    source = JsonLinesSource("made_up", name, {"train": json_paths})
    return PromptedTask(f"made_{name}", source, TEMPLATE, {"train": "train"}, truncate=False)


def parsed_lines(dataset: Any) -> Any:
    """Lines of `inputs`, a tab and `targets` -> examples; SeqIO has no such step of its own."""
    import tensorflow as tf

    def parsed(line: Any) -> dict[str, Any]:
        fields = tf.io.decode_csv(line, ["", ""], field_delim="\t", use_quote_delim=False)
        return dict(zip(("inputs", "targets"), fields, strict=True))

    return dataset.map(parsed, num_parallel_calls=tf.data.AUTOTUNE)


def add_lines(name: str, tsv_paths: list[str], features: dict[str, seqio.Feature]) -> None:
    """SeqIO's own, which reads the text as lines."""
    seqio.TaskRegistry.add(
        f"lines_{name}",
        source=seqio.TextLineDataSource({"train": tsv_paths}),
        preprocessors=[
            parsed_lines,
            seqio.preprocessors.tokenize,
            seqio.CacheDatasetPlaceholder(),
            seqio.preprocessors.append_eos,
        ],
        output_features=features,
    )


def features_of(vocabulary: str) -> dict[str, seqio.Feature]:
    """Inputs without end of sequence, targets with it."""
    loaded = VocabularySpec.parse(vocabulary).to_seqio()
    return {
        name: seqio.Feature(loaded, add_eos=name == "targets") for name in ("inputs", "targets")
    }


def write_description(
    folder: Path, tasks: dict[str, dict[str, list[str]]], vocabulary: str
) -> None:
    """Says what the children are to register."""
    content = {"vocabulary": vocabulary, "tasks": tasks}
    (folder / "tasks.json").write_text(json.dumps(content))


def register(folder: Path) -> list[str]:
    """Registers both kinds of each task; gives the names without their prefix."""
    content = json.loads((folder / "tasks.json").read_text())
    features = features_of(content["vocabulary"])
    for name, paths in content["tasks"].items():
        add_lines(name, paths["tsv"], features)
        task = prompted(name, paths["jsonl"])
        registration.add_prompted_task(task, output_features=features, score_eval=False)
    return list(content["tasks"])


if "INSTRUX_BENCHMARK_FOLDER" in os.environ:
    register(Path(os.environ["INSTRUX_BENCHMARK_FOLDER"]))
