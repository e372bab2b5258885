"""Greedy decoding with a cache: ours against Hugging Face's generate on torch, float32.

Both decode the same number of tokens, and must decode the same tokens.

    python benchmarks/greedy_decoding.py                    # T5 1.1 small, 8 x 512 in, 32 out
"""

import argparse

import jax
import numpy as np
import torch
from hugging_face import peer_of
from side_by_side import race

from instrux.models import decoding, t5
from instrux.models.host_memory import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--inputs", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--system_malloc", action="store_true", help="leave glibc's defaults")
    options = parser.parse_args()
    if not options.system_malloc:
        keep_freed_memory()  # for both sides: they share the process
    config = t5.T5Config(
        vocab_size=32128,
        emb_dim=512,
        num_heads=6,
        head_dim=64,
        mlp_dim=1024,
        num_encoder_layers=options.layers,
        num_decoder_layers=options.layers,
        scan_layers=False,
    )
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
