"""How full rows are: our packer against SeqIO's `trim_and_pack_dataset`, on the same examples.

    python benchmarks/packing_fill.py --data FOLDER --vocabulary FOLDER/vocab/t5_32000.model

FOLDER is the development data. Both packers get the same token ids, cut to the same lengths, in
the same shuffled order. Fill is the share of positions that hold a token; since both hold the same
tokens, the ratio of fills is the ratio of rows. The bound is `packing_bounds.lower_bound`: no
packer of any kind needs fewer rows, so SeqIO's rows over the bound are the highest ratio there is.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import development_examples
import numpy as np

from instrux.data.pack_blocks import ExampleBlock, Tokenizer
from instrux.data.packing import pack
from instrux.data.packing_bounds import length_counts, lower_bound
from instrux.data.vocabularies import VocabularySpec

GOAL_RATIO = 1.3
GOAL_GAP = 0.03


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
    """Packs with ours; gives rows, processor seconds and the lower bound."""
    room = {"inputs_length": lengths["inputs"], "targets_length": lengths["targets"]}
    sizes = block.heads["inputs_length"], block.heads["targets_length"]
    started = time.process_time()
    rows = int(pack(*sizes, **room).max()) + 1
    seconds = time.process_time() - started
    return rows, seconds, lower_bound(length_counts(*sizes, **room))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the development data")
    parser.add_argument("--vocabulary", required=True, help="a SentencePiece model, or `bytes`")
    parser.add_argument("--inputs_length", type=int, default=512)
    parser.add_argument("--targets_length", type=int, default=128)
    parser.add_argument("--sets", nargs="*", default=list(development_examples.SETS))
    options = parser.parse_args()
    lengths = {"inputs": options.inputs_length, "targets": options.targets_length}
    vocabulary = VocabularySpec.parse(options.vocabulary).load()
    tokenizer = Tokenizer(vocabulary, *lengths.values(), inputs_eos=False)
    print(f"rows of {lengths['inputs']} and {lengths['targets']} tokens; fill of inputs / targets")
    for name in options.sets:
        pairs = development_examples.load(options.data, name)
        block = tokenizer.block(*(list(side) for side in zip(*pairs, strict=True)))
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
            f"{name}: {len(pairs):,} examples\n"
            f"  SeqIO {peer:,} rows, {fill(peer)};  ours {ours:,} rows, {fill(ours)};  "
            f"at best {bound:,} rows, {fill(bound)}\n"
            f"  fill {ratio:.3f}x SeqIO's (at best {peer / bound:.3f}x; goal {GOAL_RATIO}x), "
            f"{gap:.2%} above the bound (goal {GOAL_GAP:.0%}), "
            f"{len(pairs) / seconds:,.0f} examples per processor second",
            flush=True,
        )


if __name__ == "__main__":
    main()
