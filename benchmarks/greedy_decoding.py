"""Greedy decoding with a cache: ours against Hugging Face's generate on torch, float32.

Both decode the same number of tokens, and must decode the same tokens.

    python benchmarks/greedy_decoding.py                    # T5 1.1 small, 8 x 512 in, 32 out
"""

import argparse

import jax
import numpy as np
import torch
from hugging_face import parsed, peer_of, t5_1_1_small
from side_by_side import race

from instrux.models import decoding, t5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=32)
    options = parsed(parser)
    config = t5_1_1_small(layers=options.layers)
    model = t5.T5(config)
    params = jax.jit(model.init)(jax.random.key(0))
    peer = peer_of(config, params)
    peer.generation_config.eos_token_id = None  # so that both always decode all tokens
    random = np.random.default_rng(0)
    inputs = random.integers(2, 32000, (options.batch, options.inputs)).astype(np.int32)
    peer_inputs = torch.from_numpy(inputs).long()

    def ours() -> np.ndarray:
        return np.asarray(
            decoding.greedy(model, params, inputs, max_decode_length=options.tokens, eos_id=-1)
        )

    def theirs() -> np.ndarray:
        return peer.generate(
            input_ids=peer_inputs,
            attention_mask=torch.ones_like(peer_inputs),
            max_new_tokens=options.tokens,
            do_sample=False,
        ).numpy()[:, 1:]

    decoded, expected = ours(), theirs()
    same = np.mean(decoded == expected)
    # Random weights give near ties; a row that takes one differently goes on differently.
    assert same > 0.9, f"only {same:.0%} of the tokens are the same"
    print(f"{same:.1%} of {decoded.size} tokens are the same")
    race(ours, theirs, repetitions=options.repetitions)


if __name__ == "__main__":
    main()
