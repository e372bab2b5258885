"""Loss and gradient of a training step: ours against Hugging Face's T5 on torch, eager, float32.

Both have dropout 0.1, the same weights and the same batch of full rows. Without dropout their
losses must agree before anything is timed. The optimiser is left out.

    python benchmarks/train_step_hf.py                      # T5 1.1 small, 8 x 512/128
    python benchmarks/train_step_hf.py --layers 2 --vocab 4096 --repetitions 3
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch
from hugging_face import parsed, peer_of, t5_1_1_small
from side_by_side import race

from instrux.models import losses, t5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", type=int, default=128)
    parser.add_argument("--vocab", type=int, default=32128)
    options = parsed(parser)
    config = t5_1_1_small(layers=options.layers, vocab_size=options.vocab)
    model = t5.T5(config)
    params = jax.jit(model.init)(jax.random.key(0))
    peer = peer_of(config, params)
    batch = random_batch(options)

    def total(params, key):
        return losses.loss(model, params, batch, z_loss=0.0, dropout_key=key).total

    inputs = torch.from_numpy(np.array(batch["encoder_input_tokens"])).long()
    labels = torch.from_numpy(np.array(batch["decoder_target_tokens"])).long()
    with torch.no_grad():
        expected = peer(input_ids=inputs, labels=labels).loss.item()
    ours = jax.jit(total, static_argnums=1)(params, None) / labels.numel()
    np.testing.assert_allclose(ours, expected, rtol=1e-4)
    print(f"same loss on the same weights: {float(ours):.4f} and {expected:.4f}")

    started = time.perf_counter()
    step = jax.jit(jax.value_and_grad(total)).lower(params, jax.random.key(0)).compile()
    print(f"compiled ours in {time.perf_counter() - started:.1f} s")
    peer.train()

    def run_peer() -> None:
        peer.zero_grad()
        peer(input_ids=inputs, labels=labels).loss.backward()

    tokens = options.batch * (options.inputs + options.targets)
    print(f"{tokens} tokens a step")
    race(
        lambda: jax.block_until_ready(step(params, jax.random.key(1))),
        run_peer,
        repetitions=options.repetitions,
    )


def random_batch(options: argparse.Namespace) -> dict[str, jax.Array]:
    random = np.random.default_rng(0)
    inputs = random.integers(2, options.vocab, (options.batch, options.inputs))
    targets = random.integers(2, options.vocab, (options.batch, options.targets))
    return {
        "encoder_input_tokens": jnp.asarray(inputs, jnp.int32),
        "decoder_target_tokens": jnp.asarray(targets, jnp.int32),
        "decoder_input_tokens": jnp.asarray(np.pad(targets[:, :-1], ((0, 0), (1, 0))), jnp.int32),
    }


if __name__ == "__main__":
    main()
