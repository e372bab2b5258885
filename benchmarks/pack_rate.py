"""How fast training data is read: a packed dataset against SeqIO's cache, packed as it is read.

    python benchmarks/pack_rate.py --data FOLDER --vocabulary FOLDER/vocab/t5_32000.model

FOLDER is the development data. The same examples are rendered, cached (SeqIO's layout) and packed
first; then both are read in turn, in this process, and counted in tokens that are no padding per
processor second. SeqIO reads its cache, shuffles, packs and converts as `seqio.get_dataset` with
`EncDecFeatureConverter(pack=True)` does.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import development_examples

from instrux.data.packed import PackedDataset, PackSettings
from instrux.data.prompted_task import PromptedTask
from instrux.data.sources import JsonLinesSource
from instrux.data.vocabularies import VocabularySpec
from instrux.prompts import Template
from pipelines.cache import cache
from pipelines.pack import pack
from pipelines.render import render

GOAL = 10.0
LENGTHS = {"inputs": 512, "targets": 128}
BATCH_SIZE = 32
TASK = "pack_rate"


def prepare(options: argparse.Namespace, folder: Path) -> tuple[PackedDataset, str]:
    """Renders, caches and packs the examples; gives the packed dataset and the cached task."""
    import seqio

    from instrux.data import registration

    pairs = development_examples.load(options.data, options.set)[: options.examples]
    path = folder / "train.jsonl"
    with path.open("w") as file:
        for inputs, targets in pairs:
            file.write(json.dumps({"prompt": inputs, "answer": targets or "none"}) + "\n")
    source = JsonLinesSource("development", options.set, {"train": str(path)})
    template = Template(name="plain", jinja="{{prompt}} ||| {{answer}}")
    task = PromptedTask(TASK, source, template, splits={"train": "train"}, truncate=False)
    spec = VocabularySpec.parse(options.vocabulary)
    vocabulary = spec.to_seqio()
    features = {name: seqio.Feature(vocabulary, add_eos=name == "targets") for name in LENGTHS}
    registration.add_prompted_task(task, output_features=features)
    render(tasks=[task], data_dir=folder, num_shards=8)
    seqio.add_global_cache_dirs([str(cache(tasks=[TASK], data_dir=folder).folder)])
    settings = PackSettings(
        mixture=TASK,
        inputs_length=LENGTHS["inputs"],
        targets_length=LENGTHS["targets"],
        vocabulary=spec,
        num_examples=len(pairs),
    )
    return PackedDataset(pack(settings, data_dir=folder, rates={TASK: 1.0}).folder), TASK


def tokens_per_second(batches, count: int) -> float:
    """Reads batches; gives tokens that are no padding per processor second of this process."""
    next(batches)  # what is built at the first batch is no part of the rate
    tokens = 0
    started = time.process_time()
    for batch in islice(batches, count):
        tokens += int((batch["encoder_segment_ids"] != 0).sum())
        tokens += int((batch["decoder_segment_ids"] != 0).sum())
    return tokens / (time.process_time() - started)


def seqio_batches(task: str, seed: int):
    import seqio

    dataset = seqio.get_dataset(
        task,
        task_feature_lengths=LENGTHS,
        feature_converter=seqio.EncDecFeatureConverter(pack=True),
        use_cached=True,
        shuffle=True,
        num_epochs=None,
        seed=seed,
        batch_size=BATCH_SIZE,
        verbose=False,
    )
    return dataset.as_numpy_iterator()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the development data")
    parser.add_argument("--vocabulary", required=True, help="a SentencePiece model, or `bytes`")
    parser.add_argument("--set", choices=development_examples.SETS, default="natural_instructions")
    parser.add_argument("--examples", type=int, default=6000)
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="instrux-pack-rate-") as folder:
        dataset, task = prepare(options, Path(folder))
        rates: dict[str, list[float]] = {"ours": [], "SeqIO": []}
        for repeat in range(options.repeats):
            ours = dataset.batches(BATCH_SIZE, seed=repeat)
            rates["ours"].append(tokens_per_second(ours, options.batches))
            theirs = seqio_batches(task, seed=repeat)
            rates["SeqIO"].append(tokens_per_second(theirs, options.batches))
    for name, measured in rates.items():
        spread = (max(measured) - min(measured)) / statistics.median(measured)
        print(
            f"{name}: {statistics.median(measured):,.0f} tokens per processor second, spread {spread:.0%}"
        )
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["SeqIO"])
    print(f"ratio of medians {ratio:.1f}x (goal {GOAL:.0f}x)")


if __name__ == "__main__":
    main()
