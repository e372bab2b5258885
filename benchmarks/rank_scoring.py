"""Rank classification: ours against t-zero's way on Hugging Face's T5, torch, float32.

t-zero repeats the input for each choice and runs the whole model on each pair; ours encodes an
input once. The scores must agree before anything is timed.

    python benchmarks/rank_scoring.py                       # T5 1.1 small, 8 inputs x 4 choices
"""

import argparse

import jax
import numpy as np
import torch
from hugging_face import parsed, peer_of, t5_1_1_small
from side_by_side import race

from instrux.models import scoring, t5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--choices", type=int, default=4)
    parser.add_argument("--targets", type=int, default=16)
    options = parsed(parser)
    config = t5_1_1_small(layers=options.layers)
    model = t5.T5(config)
    params = jax.jit(model.init)(jax.random.key(0))
    peer = peer_of(config, params)
    random = np.random.default_rng(0)
    inputs = random.integers(2, 32000, (options.batch, options.inputs)).astype(np.int32)
    total = options.batch * options.choices
    choices = random.integers(2, 32000, (total, options.targets)).astype(np.int32)
    choices[:, -1] = 1
    owner = np.repeat(np.arange(options.batch), options.choices)

    def ours() -> np.ndarray:
        return np.asarray(scoring.score_choices(model, params, inputs, choices, owner))

    repeated = torch.from_numpy(inputs[owner]).long()
    labels = torch.from_numpy(choices).long()

    @torch.no_grad()
    def theirs() -> np.ndarray:
        logits = peer(
            input_ids=repeated, attention_mask=torch.ones_like(repeated), labels=labels
        ).logits
        scores = torch.log_softmax(logits, dim=-1).gather(-1, labels[..., None])[..., 0]
        return scores.sum(dim=-1).numpy()

    scores, expected = ours(), theirs()
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    print(f"same scores: largest difference {np.abs(scores - expected).max():.1e}")
    race(ours, theirs, repetitions=options.repetitions)


if __name__ == "__main__":
    main()
