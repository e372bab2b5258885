import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.models import t5


@pytest.fixture(scope="session")
def config():
    return t5.T5Config(
        vocab_size=97,
        emb_dim=32,
        num_heads=3,
        head_dim=16,
        mlp_dim=48,
        num_encoder_layers=3,
        num_decoder_layers=2,
    )


@pytest.fixture(scope="session")
def model(config):
    return t5.T5(config)


@pytest.fixture(scope="session")
def params(model):
    """Random parameters, the norms' scales and the position biases too, of trained size."""
    params = jax.jit(model.init)(jax.random.key(0))

    def disturb(path, array):
        name = jax.tree_util.keystr(path)
        key = jax.random.fold_in(jax.random.key(1), sum(map(ord, name)))
        if "rel_embedding" in name:
            return 2.0 * jax.random.normal(key, array.shape)
        if "scale" in name:
            return 1.0 + 0.3 * jax.random.normal(key, array.shape)
        if "query" in name:
            return 4.0 * array  # sharp enough attention that masks and biases matter
        return array

    return jax.tree_util.tree_map_with_path(disturb, params)


@pytest.fixture(scope="session")
def batch():
    """Two padded rows, as SeqIO gives them."""
    random = np.random.default_rng(3)
    inputs = random.integers(2, 97, (2, 11)).astype(np.int32)
    targets = random.integers(2, 97, (2, 7)).astype(np.int32)
    inputs[1, 6:] = 0
    targets[0, 6], targets[1, 4], targets[1, 5:] = 1, 1, 0
    return {
        "encoder_input_tokens": jnp.asarray(inputs),
        "decoder_target_tokens": jnp.asarray(targets),
        "decoder_input_tokens": jnp.asarray(np.pad(targets[:, :-1], ((0, 0), (1, 0)))),
        "decoder_loss_weights": jnp.asarray((targets > 0).astype(np.float32)),
    }


@pytest.fixture(scope="session")
def peer_of():
    """The function that builds Hugging Face's model of a configuration and parameters."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    path = Path(__file__).parents[3] / "benchmarks" / "hugging_face.py"
    spec = importlib.util.spec_from_file_location("hugging_face", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.peer_of
