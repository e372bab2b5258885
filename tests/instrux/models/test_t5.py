import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.models import t5


def forward(model, params, inputs, decoder_inputs, segments=(None, None), dropout_key=None):
    encoded = model.encode(params, inputs, segments[0], dropout_key=dropout_key)
    hidden = model.decode(
        params, encoded, inputs, decoder_inputs, *segments, dropout_key=dropout_key
    )
    return model.logits(params, hidden)


@pytest.fixture(scope="module")
def logits(model, params, batch):
    inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    return jax.jit(forward, static_argnums=0)(model, params, inputs, decoder_inputs)


def test_parameters_have_t5x_names_and_shapes(model, params):
    shapes = {
        jax.tree_util.keystr(path, simple=True, separator="."): array.shape
        for path, array in jax.tree_util.tree_leaves_with_path(params)
    }
    attention = {
        f"{name}.kernel": (48, 32) if name == "out" else (32, 48)
        for name in ("query", "key", "value", "out")
    }
    mlp = {"wi_0.kernel": (32, 48), "wi_1.kernel": (32, 48), "wo.kernel": (48, 32)}
    expected = {
        "token_embedder.embedding": (97, 32),
        "encoder.relpos_bias.rel_embedding": (3, 32),
        "encoder.encoder_norm.scale": (32,),
        "decoder.relpos_bias.rel_embedding": (3, 32),
        "decoder.decoder_norm.scale": (32,),
        "decoder.logits_dense.kernel": (32, 97),
        "encoder.layers.pre_attention_layer_norm.scale": (3, 32),
        "encoder.layers.pre_mlp_layer_norm.scale": (3, 32),
        "decoder.layers.pre_self_attention_layer_norm.scale": (2, 32),
        "decoder.layers.pre_cross_attention_layer_norm.scale": (2, 32),
        "decoder.layers.pre_mlp_layer_norm.scale": (2, 32),
    }
    for name, shape in attention.items():
        expected[f"encoder.layers.attention.{name}"] = (3, *shape)
        expected[f"decoder.layers.self_attention.{name}"] = (2, *shape)
        expected[f"decoder.layers.encoder_decoder_attention.{name}"] = (2, *shape)
    for name, shape in mlp.items():
        expected[f"encoder.layers.mlp.{name}"] = (3, *shape)
        expected[f"decoder.layers.mlp.{name}"] = (2, *shape)
    assert shapes == expected
    assert {array.dtype for array in jax.tree.leaves(params)} == {np.dtype("float32")}


def test_logical_axes_name_every_dimension(model, params):
    axes = model.logical_axes()
    is_axes = lambda node: isinstance(node, tuple)  # noqa: E731
    assert jax.tree.structure(params) == jax.tree.structure(axes, is_leaf=is_axes)
    ranks = jax.tree.map(lambda names: len(names), axes, is_leaf=is_axes)
    assert ranks == jax.tree.map(lambda array: array.ndim, params)
    layers = axes["encoder"]["layers"]
    assert layers["attention"]["query"]["kernel"] == ("layers", "embed", "joined_kv")
    assert layers["mlp"]["wo"]["kernel"] == ("layers", "mlp", "embed")
    assert axes["token_embedder"]["embedding"] == ("vocab", "embed")


def test_initial_sizes_are_t5s():
    config = t5.T5Config(
        vocab_size=500,
        emb_dim=256,
        num_heads=8,
        head_dim=32,
        mlp_dim=512,
        num_encoder_layers=4,
        num_decoder_layers=1,
    )
    params = jax.jit(t5.T5(config).init)(jax.random.key(0))
    layers = params["encoder"]["layers"]
    # Mesh TensorFlow: embeddings 1, queries (embed * kv)^-1/2, the rest fan_in^-1/2.
    for array, deviation in (
        (params["token_embedder"]["embedding"], 1.0),
        (layers["attention"]["query"]["kernel"], (256 * 32) ** -0.5),
        (layers["attention"]["key"]["kernel"], 256**-0.5),
        (layers["mlp"]["wo"]["kernel"], 512**-0.5),
        (params["decoder"]["logits_dense"]["kernel"], 256**-0.5),
    ):
        assert np.std(array) == pytest.approx(deviation, rel=0.02)
    query = layers["attention"]["query"]["kernel"]
    assert not np.array_equal(query[0], query[1])


def test_a_position_sees_no_later_target(model, params, batch, logits):
    inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    changed = jax.jit(forward, static_argnums=0)(
        model, params, inputs, decoder_inputs.at[:, 4].set(50)
    )
    moved = np.abs(changed - logits).max(axis=(0, 2))
    assert (moved[:4] == 0.0).all()
    assert (moved[4:] > 1e-3).all()


def test_what_stands_in_the_padding_does_not_matter(model, params, batch, logits):
    inputs = jnp.pad(batch["encoder_input_tokens"], ((0, 0), (0, 5)))
    decoder_inputs = jnp.pad(batch["decoder_input_tokens"], ((0, 0), (0, 3)), constant_values=9)
    longer = jax.jit(forward, static_argnums=0)(model, params, inputs, decoder_inputs)
    np.testing.assert_allclose(longer[:, :7], logits, atol=1e-5)


def test_a_packed_row_gives_each_example_its_own_logits(model, params, batch, logits):
    inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    packed = jnp.concatenate([inputs[1:, :6], inputs[:1], jnp.zeros((1, 2), jnp.int32)], axis=1)
    packed_targets = jnp.concatenate([decoder_inputs[1:, :5], decoder_inputs[:1]], axis=1)
    segments = (
        jnp.asarray([[1] * 6 + [2] * 11 + [0] * 2]),
        jnp.asarray([[1] * 5 + [2] * 7]),
    )
    ours = jax.jit(forward, static_argnums=0)(model, params, packed, packed_targets, segments)
    np.testing.assert_allclose(ours[0, :5], logits[1, :5], atol=1e-5)
    np.testing.assert_allclose(ours[0, 5:], logits[0], atol=1e-5)


def gradient(model, params, batch):
    """The gradient of the sum of squared logits, with dropout."""

    def total(params):
        inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
        logits = forward(model, params, inputs, decoder_inputs, dropout_key=jax.random.key(4))
        return jnp.mean(jnp.square(logits))

    return jax.jit(jax.grad(total))(params)


@pytest.fixture(scope="module")
def reference_gradient(model, params, batch):
    return gradient(model, params, batch)


@pytest.mark.parametrize(
    "changes",
    [
        {"remat": "full"},
        {"remat": "dots"},
        {"scan_layers": False},
        {"attention": "xla"},
        {"attention": "rows"},
        {"attention": "pallas"},
    ],
)
def test_settings_of_execution_change_no_gradient(
    model, params, batch, reference_gradient, changes
):
    changed = t5.T5(dataclasses.replace(model.config, **changes))
    jax.tree.map(
        lambda ours, expected: np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5),
        gradient(changed, params, batch),
        reference_gradient,
    )


def test_bfloat16_is_near_float32(model, params, batch, logits):
    half = t5.T5(dataclasses.replace(model.config, dtype="bfloat16"))
    inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    ours = jax.jit(forward, static_argnums=0)(half, params, inputs, decoder_inputs)
    assert ours.dtype == jnp.float32
    assert np.abs(ours - logits).max() < 0.15 * np.std(logits)


@pytest.mark.parametrize("random_bits", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_dropout_is_drawn_from_its_key(model, params, batch, logits, random_bits):
    model = t5.T5(dataclasses.replace(model.config, random_bits=random_bits))
    inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    dropped = jax.jit(lambda key: forward(model, params, inputs, decoder_inputs, dropout_key=key))
    first, again, other = (dropped(jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert np.abs(first - logits).max() > 0.1


def test_an_id_out_of_the_vocabulary_is_not_passed_over(model, params):
    assert jnp.isnan(model.embed(params, jnp.asarray([[97]]))).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"emb_dim": 0}, "T5Config.emb_dim = 0"),
        ({"dtype": "bfloat"}, "did you mean 'bfloat16'"),
        ({"mlp_activations": ("gelo",)}, "choose from gelu, relu, silu, linear"),
        ({"dropout_rate": 1.0}, "T5Config.dropout_rate"),
        ({"relpos_buckets": 30}, "multiple of 4"),
    ],
)
def test_a_wrong_setting_is_told_by_name(config, changes, message):
    with pytest.raises(InputError, match=f"(?i){message}"):
        dataclasses.replace(config, **changes)
