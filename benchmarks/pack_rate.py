"""How fast training data is read: a packed dataset against SeqIO's cache, packed as it is read.

    python benchmarks/pack_rate.py                                      # made-up rows
    python benchmarks/pack_rate.py --data FOLDER --vocabulary FOLDER/vocab/t5_32000.model

FOLDER is the development data. The same examples are rendered, cached (SeqIO's layout) and packed
first; then both are read in turn, in this process, and counted in tokens that are no padding. SeqIO
reads its cache, shuffles, packs and converts as `seqio.get_dataset` with
`EncDecFeatureConverter(pack=True)` does. Ours reads as training does, ahead on threads.
"""

import argparse
import os
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import development_examples
import generated_rows
from child_processes import middle

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

    if options.data is None:
        pairs = generated_rows.pairs(options.examples)
    else:
        pairs = development_examples.load(options.data, options.set)[: options.examples]
    pairs = [(inputs, targets or "none") for inputs, targets in pairs]
    paths, _ = generated_rows.write_files(pairs, folder, files=1)
    source = JsonLinesSource("development", options.set, {"train": paths})
    template = Template(name="plain", jinja="{{prompt}} ||| {{answer}}")
    task = PromptedTask(TASK, source, template, splits={"train": "train"}, truncate=False)
    spec = VocabularySpec.parse(
        options.vocabulary or generated_rows.train_vocabulary(pairs, folder)
    )
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


def tokens_per_second(batches, count: int) -> tuple[float, float]:
    """Reads batches; gives tokens that are no padding per second and per processor second."""
    next(batches)  # what is built at the first batch is no part of the rate
    tokens = 0
    wall, cpu = time.perf_counter(), time.process_time()
    for batch in islice(batches, count):
        tokens += int((batch["encoder_segment_ids"] != 0).sum())
        tokens += int((batch["decoder_segment_ids"] != 0).sum())
    return tokens / (time.perf_counter() - wall), tokens / (time.process_time() - cpu)


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
    parser.add_argument("--data", type=Path, help="the development data; made-up rows without it")
    parser.add_argument("--vocabulary", help="a SentencePiece model; trained on the rows if absent")
    parser.add_argument("--set", choices=development_examples.SETS, default="natural_instructions")
    parser.add_argument("--examples", type=int, default=6000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="that ours reads ahead with")
    options = parser.parse_args()
    rates: dict[str, list[tuple[float, float]]] = {"ours": [], "peer": []}
    with tempfile.TemporaryDirectory(prefix="instrux-pack-rate-") as folder:
        dataset, task = prepare(options, Path(folder))
        for seed in range(options.repetitions):
            ours = dataset.batches(BATCH_SIZE, seed=seed, threads=options.threads)
            rates["ours"].append(tokens_per_second(ours, options.batches))
            theirs = seqio_batches(task, seed=seed)
            rates["peer"].append(tokens_per_second(theirs, options.batches))
    ratios = []
    for number, second in enumerate(("second", "processor second")):
        found = {
            side: [each[number] / 1e6 for each in measured] for side, measured in rates.items()
        }
        ratios.append(statistics.median(found["ours"]) / statistics.median(found["peer"]))
        for side, millions in found.items():
            print(f"{side}: {middle(millions)} million tokens a {second}")
    print(
        f"ratio {ratios[0]:.1f} of wall medians, {ratios[1]:.1f} of CPU medians (goal {GOAL:.0f}); "
        f"n = {options.repetitions}"
    )


if __name__ == "__main__":
    main()
