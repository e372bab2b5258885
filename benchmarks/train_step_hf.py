"""A whole training step, Adafactor included: ours against Hugging Face's T5 on torch, eager.

Both have dropout 0.1, float32 parameters, the same weights and the same batch of full rows; ours
drops with T5X's masks (one a row), Hugging Face's with one a position. Without dropout their
losses must agree before anything is timed. In bfloat16 the matrix products are bfloat16: ours by
`dtype`, Hugging Face's by autocast. Adafactor is transformers' own.

    python benchmarks/train_step_hf.py                      # T5 1.1 small, 8 x 512/128, float32
    python benchmarks/train_step_hf.py --dtype bfloat16 --peer_dtype bfloat16
    python benchmarks/train_step_hf.py --layers 2 --vocab 4096 --repetitions 3
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import torch
from hugging_face import parsed, peer_of, t5_1_1_small
from side_by_side import race
from transformers.optimization import Adafactor as PeerAdafactor

from instrux.models import losses, t5
from instrux.training.optimizers import Adafactor
from instrux.training.schedules import constant
from instrux.training.train_step import StepSettings, fresh_state, make_train_step

TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", type=int, default=128)
    parser.add_argument("--vocab", type=int, default=32128)
    parser.add_argument("--dtype", choices=TOLERANCE, default="float32", help="of our products")
    parser.add_argument("--peer_dtype", choices=TOLERANCE, default="float32", help="of the peer's")
    options = parsed(parser)
    config = t5_1_1_small(layers=options.layers, vocab_size=options.vocab)
    model = t5.T5(dataclasses.replace(config, dtype=options.dtype))
    params = jax.jit(model.init)(jax.random.key(0))
    peer = peer_of(config, params)
    batch = random_batch(options)
    check_losses(model, params, peer, batch)
    run_peer = peer_step(peer, batch, options.peer_dtype)
    started = time.perf_counter()
    run_ours = our_step(model, params, batch)
    print(f"compiled ours in {time.perf_counter() - started:.1f} s")
    tokens = options.batch * (options.inputs + options.targets)
    print(f"{tokens} tokens a step; ours {options.dtype}, peer {options.peer_dtype}")
    race(run_ours, run_peer, repetitions=options.repetitions)


def check_losses(model: t5.T5, params: t5.Params, peer, batch: Mapping[str, jax.Array]) -> None:
    """Compares the losses without dropout."""
    with torch.no_grad():
        expected = peer(**torch_batch(batch)).loss.item()
    sums = jax.jit(lambda params: losses.loss(model, params, batch, z_loss=0.0))(params)
    ours = float(sums.total / sums.weight)
    np.testing.assert_allclose(ours, expected, rtol=TOLERANCE[model.config.dtype])
    print(f"same loss on the same weights: {ours:.4f} and {expected:.4f}")


def our_step(model: t5.T5, params: t5.Params, batch: Mapping[str, jax.Array]) -> Callable[[], None]:
    """Compiles our step; gives a function that makes one update and waits for it."""
    optimizer = Adafactor().build(constant(), model.logical_axes())
    state = fresh_state(params, optimizer, jax.random.key(1))
    step = make_train_step(model, optimizer, constant(), StepSettings(z_loss=0.0))
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    held = [state]

    def run() -> None:
        held[0], metrics = compiled(held[0], batch)
        jax.block_until_ready(metrics)

    return run


def peer_step(peer, batch: Mapping[str, jax.Array], dtype: str) -> Callable[[], None]:
    """Gives a function that makes one update of the peer."""
    arguments = torch_batch(batch)
    optimizer = PeerAdafactor(
        peer.parameters(), lr=1e-3, scale_parameter=True, relative_step=False, warmup_init=False
    )
    peer.train()

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = peer(**arguments).loss
        loss.backward()
        optimizer.step()

    return run


def torch_batch(batch: Mapping[str, jax.Array]) -> dict[str, torch.Tensor]:
    """The peer's arguments; padding is not seen and has no loss."""
    inputs = torch.from_numpy(np.array(batch["encoder_input_tokens"])).long()
    labels = torch.from_numpy(np.array(batch["decoder_target_tokens"])).long()
    mask = (inputs > 0).long()
    return {
        "input_ids": inputs,
        "attention_mask": mask,
        "labels": labels.masked_fill(labels == 0, -100),
    }


def random_batch(options: argparse.Namespace) -> dict[str, jax.Array]:
    """Full rows of random pieces."""
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
