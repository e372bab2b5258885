"""How full rows are: our packer against SeqIO's `trim_and_pack_dataset`, on the same examples.

    python benchmarks/packing_fill.py                                   # lengths only
    python benchmarks/packing_fill.py --data FOLDER --vocabulary FOLDER/vocab/t5_32000.model

FOLDER is the development data; without it the examples have the lengths of 20,000 real ones
(`generated_rows`) and tokens that mean nothing. Both packers get the same token ids, cut to the same lengths, in
the same shuffled order. Fill is the share of positions that hold a token; since both hold the same
tokens, the ratio of fills is the ratio of rows. The bound is `packing_bounds.lower_bound`: no
packer of any kind needs fewer rows, so SeqIO's rows over the bound are the highest ratio there is.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import development_examples
import generated_rows
import numpy as np

from instrux.data.pack_blocks import HEAD, ExampleBlock, Tokenizer
from instrux.data.packing import pack
from instrux.data.packing_bounds import length_counts, lower_bound
from instrux.data.vocabularies import VocabularySpec

GOAL_RATIO = 1.35
GOAL_GAP = 0.02
GOAL_RATE = 50_000
MADE_UP = 20_000


def seqio_rows(block: ExampleBlock, lengths: dict[str, int]) -> int:
    """Packs with SeqIO's own function; gives the number of rows."""
    import seqio
    import tensorflow as tf

    bounds = np.concatenate([[0], np.cumsum(block.lengths)])
    inputs_lengths = block.heads["inputs_length"].astype(np.int64)

    def examples():
        for start, end, inputs in zip(bounds, bounds[1:], inputs_lengths, strict=False):
            yield {
                "inputs": block.tokens[start : start + inputs].astype(np.int32),
                "targets": block.tokens[start + inputs : end].astype(np.int32),
            }

    spec = {name: tf.TensorSpec([None], tf.int32) for name in lengths}
    dataset = tf.data.Dataset.from_generator(examples, output_signature=spec)
    packed = seqio.trim_and_pack_dataset(dataset, lengths)
    rows = tokens = 0
    for batch in packed.batch(256).as_numpy_iterator():
        rows += len(batch["inputs"])
        tokens += int((batch["inputs"] != 0).sum() + (batch["targets"] != 0).sum())
    assert tokens == len(block.tokens), "SeqIO lost or made tokens"
    return rows


def our_rows(block: ExampleBlock, lengths: dict[str, int]) -> tuple[int, float, int]:
    """Packs with ours, three times; gives rows, the median processor seconds and the lower bound."""
    room = {"inputs_length": lengths["inputs"], "targets_length": lengths["targets"]}
    sizes = block.heads["inputs_length"], block.heads["targets_length"]
    seconds, rows = [], 0
    for _ in range(3):
        started = time.process_time()
        rows = int(pack(*sizes, **room).max()) + 1
        seconds.append(time.process_time() - started)
    return rows, statistics.median(seconds), lower_bound(length_counts(*sizes, **room))


def blocks(
    options: argparse.Namespace, lengths: dict[str, int]
) -> Iterator[tuple[str, ExampleBlock]]:
    """Gives every set's name and its examples in shuffled order, cut to the lengths."""
    if options.data is None:
        yield "made up", made_up_block(lengths)
        return
    vocabulary = VocabularySpec.parse(options.vocabulary).load()
    tokenizer = Tokenizer(vocabulary, *lengths.values(), inputs_eos=False)
    for name in options.sets:
        pairs = development_examples.load(options.data, name)
        yield name, tokenizer.block(*(list(side) for side in zip(*pairs, strict=True)))


def made_up_block(lengths: dict[str, int]) -> ExampleBlock:
    """Examples with the lengths of real ones."""
    heads = np.zeros(MADE_UP, HEAD)
    for name, made in zip(lengths, generated_rows.lengths(MADE_UP), strict=True):
        heads[f"{name}_length"] = np.minimum(made, lengths[name])
    block = ExampleBlock(heads, np.zeros(0, np.uint32))
    return ExampleBlock(heads, np.full(int(block.lengths.sum()), 5, np.uint32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the development data; made-up lengths without")
    parser.add_argument("--vocabulary", help="with --data: a SentencePiece model, or `bytes`")
    parser.add_argument("--inputs_length", type=int, default=512)
    parser.add_argument("--targets_length", type=int, default=128)
    parser.add_argument("--sets", nargs="*", default=list(development_examples.SETS))
    options = parser.parse_args()
    if options.data is not None and options.vocabulary is None:
        parser.error("--data needs --vocabulary")
    lengths = {"inputs": options.inputs_length, "targets": options.targets_length}
    print(f"rows of {lengths['inputs']} and {lengths['targets']} tokens; fill of inputs / targets")
    for name, block in blocks(options, lengths):
        tokens = [int(block.heads[f"{side}_length"].sum()) for side in lengths]
        ours, seconds, bound = our_rows(block, lengths)
        peer = seqio_rows(block, lengths)

        def fill(rows: int, tokens: list[int] = tokens) -> str:
            shares = [
                n / (rows * length) for n, length in zip(tokens, lengths.values(), strict=True)
            ]
            return " / ".join(f"{share:.1%}" for share in shares)

        ratio, gap = peer / ours, ours / bound - 1
        print(
            f"{name}: {len(block.heads):,} examples\n"
            f"  SeqIO {peer:,} rows, {fill(peer)};  ours {ours:,} rows, {fill(ours)};  "
            f"at best {bound:,} rows, {fill(bound)}\n"
            f"  fill {ratio:.3f}x SeqIO's (at best {peer / bound:.3f}x; goal {GOAL_RATIO}x), "
            f"{gap:.2%} above the bound (goal {GOAL_GAP:.0%}), "
            f"{len(block.heads) / seconds:,.0f} examples a processor second "
            f"(goal {GOAL_RATE:,})",
            flush=True,
        )


if __name__ == "__main__":
    main()
