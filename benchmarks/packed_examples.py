"""Examples trained a second on real P3 rows: ours packed against Hugging Face's padded batches.

    python benchmarks/packed_examples.py --data FOLDER --vocabulary FOLDER/vocab/t5_32000.model

FOLDER is the development data. Both sides make whole training steps (Adafactor, dropout 0.1) of
the same model on the same examples, cut to the same lengths, in float32 unless `--dtype` says
otherwise for both. Ours takes rows of 512/128 packed by `instrux pack`'s packer from all examples;
the peer takes shuffled batches of `--peer_batch` examples, each padded to its longest, as
`DataCollatorForSeq2Seq` pads. The race is over one packed batch, which holds as many examples as the
mean of batches, and the same examples padded; what packing alone is worth is the ratio of positions,
which is printed first.
"""

import argparse
import dataclasses
from pathlib import Path

import development_examples
import jax
import jax.numpy as jnp
import numpy as np
from hugging_face import parsed, peer_of, t5_1_1_small
from side_by_side import race
from train_step_hf import our_step, peer_step

from instrux.data.pack_blocks import Tokenizer
from instrux.data.packing import pack
from instrux.data.vocabularies import VocabularySpec
from instrux.models import t5

TARGETS = 128

Example = tuple[np.ndarray, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the development data")
    parser.add_argument("--vocabulary", required=True, help="a SentencePiece model")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--peer_batch", type=int, default=32)
    parser.add_argument("--examples", type=int, help="so many of the set, drawn; all")
    options = parsed(parser)
    examples = read_examples(options)
    rows = pack(
        np.array([len(inputs) for inputs, _ in examples]),
        np.array([len(targets) for _, targets in examples]),
        inputs_length=options.inputs,
        targets_length=TARGETS,
    )
    chosen = usual_rows(rows, options.batch)
    packed = [[examples[index] for index in np.flatnonzero(rows == row)] for row in chosen]
    report_positions(examples, int(rows.max()) + 1, options)
    report_joined(examples, options)
    race_steps(packed, options)


def read_examples(options: argparse.Namespace) -> list[Example]:
    """Token ids of inputs and targets of P3 rows, cut as `instrux pack` cuts, shuffled."""
    pairs = development_examples.load(options.data, "p3")
    drawn = np.random.default_rng(1).permutation(len(pairs))[: options.examples]
    pairs = [pairs[index] for index in drawn]
    tokenizer = Tokenizer(
        VocabularySpec.parse(options.vocabulary).load(), options.inputs, TARGETS, inputs_eos=False
    )
    block = tokenizer.block(*(list(side) for side in zip(*pairs, strict=True)))
    ends = np.cumsum(block.lengths)
    examples = []
    for end, length, inputs in zip(
        ends, block.lengths, block.heads["inputs_length"].astype(int), strict=True
    ):
        tokens = block.tokens[end - length : end].astype(np.int32)
        examples.append((tokens[:inputs], tokens[inputs:]))
    return examples


def usual_rows(rows: np.ndarray, batch: int) -> np.ndarray:
    """Of 100 draws of `batch` rows the one whose number of examples is nearest to the mean.

    A row holds 1 to some 20 examples, so that a draw of few may hold half as many as another.
    """
    counts = np.bincount(rows)
    random = np.random.default_rng(0)
    draws = [random.permutation(len(counts))[:batch] for _ in range(100)]
    return min(draws, key=lambda drawn: abs(counts[drawn].sum() - batch * counts.mean()))


def padded(examples: list[Example], size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches of `size` examples, inputs and targets each padded to the longest of the batch."""
    batches = []
    for start in range(0, len(examples), size):
        sides = zip(*examples[start : start + size], strict=True)
        batches.append(tuple(pad(list(side)) for side in sides))
    return batches


def pad(arrays: list[np.ndarray]) -> np.ndarray:
    """One array of all, 0 behind the shorter ones."""
    length = max(map(len, arrays))
    return np.stack([np.pad(array, (0, length - len(array))) for array in arrays])


def report_positions(examples: list[Example], rows: int, options: argparse.Namespace) -> None:
    """Prints the positions an example takes on both sides, over the whole set."""
    batches = padded(examples, options.peer_batch)
    peer = sum(side.size for batch in batches for side in batch)
    ours = rows * (options.inputs + TARGETS)
    tokens = sum(len(side) for example in examples for side in example)
    print(
        f"{len(examples):,} examples, {tokens / len(examples):.1f} tokens each\n"
        f"packed: {rows:,} rows, {tokens / ours:.1%} of positions hold a token\n"
        f"padded, {options.peer_batch} a batch: {tokens / peer:.1%}\n"
        f"positions an example, padded over packed: {peer / ours:.2f}"
    )


def report_joined(examples: list[Example], options: argparse.Namespace) -> None:
    """Prints how full rows of one sequence are, as a decoder-only model has them."""
    lengths = np.array([len(inputs) + len(targets) for inputs, targets in examples])
    room = options.inputs + TARGETS
    rows = pack(lengths, np.zeros_like(lengths), inputs_length=room, targets_length=1)
    count = int(rows.max()) + 1
    print(f"packed joined: {count:,} rows, {lengths.sum() / (count * room):.1%}")


def race_steps(rows: list[list[Example]], options: argparse.Namespace) -> None:
    """Times a packed batch against its examples in padded ones."""
    config = t5_1_1_small(layers=options.layers)
    model = t5.T5(dataclasses.replace(config, dtype=options.dtype))
    params = jax.jit(model.init)(jax.random.key(0))
    peer = peer_of(config, params)
    examples = [example for row in rows for example in row]
    order = np.random.default_rng(2).permutation(len(examples))
    batches = padded([examples[index] for index in order], options.peer_batch)
    steps = [
        peer_step(
            peer,
            {"encoder_input_tokens": inputs, "decoder_target_tokens": targets},
            options.dtype,
        )
        for inputs, targets in batches
    ]
    ours = our_step(model, params, packed_batch(rows, options.inputs))
    print(f"{len(examples)} examples: {len(rows)} packed rows, {len(batches)} padded batches")
    race(ours, lambda: [step() for step in steps], repetitions=options.repetitions)


def packed_batch(rows: list[list[Example]], inputs_length: int) -> dict:
    """The features that training reads, from examples laid out in rows."""
    sides = {"encoder": (0, inputs_length), "decoder": (1, TARGETS)}
    tokens, segments = {}, {}
    for name, (side, length) in sides.items():
        tokens[name] = np.zeros((len(rows), length), np.int32)
        segments[name] = np.zeros((len(rows), length), np.int32)
        for number, row in enumerate(rows):
            start = 0
            for segment, example in enumerate(row, start=1):
                end = start + len(example[side])
                tokens[name][number, start:end] = example[side]
                segments[name][number, start:end] = segment
                start = end
    shifted = np.pad(tokens["decoder"][:, :-1], ((0, 0), (1, 0)))
    starts = np.diff(segments["decoder"], axis=1, prepend=0) != 0
    features = {
        "encoder_input_tokens": tokens["encoder"],
        "encoder_segment_ids": segments["encoder"],
        "decoder_target_tokens": tokens["decoder"],
        "decoder_input_tokens": np.where(starts, 0, shifted),
        "decoder_segment_ids": segments["decoder"],
    }
    return {name: jnp.asarray(array) for name, array in features.items()}


if __name__ == "__main__":
    main()
