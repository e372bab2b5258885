"""The numbers of Hugging Face's T5 on the same weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.models import decoding, losses, scoring, t5

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def peer(peer_of, config, params):
    return peer_of(config, params)


def peer_logits(peer, inputs, decoder_inputs):
    import torch

    inputs = torch.from_numpy(np.array(inputs)).long()
    with torch.no_grad():
        output = peer(
            input_ids=inputs,
            attention_mask=(inputs > 0).long(),
            decoder_input_ids=torch.from_numpy(np.array(decoder_inputs)).long(),
        )
    return output.logits.numpy()


def our_logits(model, params, inputs, decoder_inputs):
    def forward(params, inputs, decoder_inputs):
        encoded = model.encode(params, inputs)
        hidden = model.decode(params, encoded, inputs, decoder_inputs)
        return model.logits(params, hidden)

    return np.asarray(jax.jit(forward)(params, inputs, decoder_inputs))


@pytest.mark.parametrize("changes", [{}, {"scan_layers": False}, {"attention": "xla"}])
def test_logits_of_padded_rows_are_hugging_faces(peer, config, params, batch, changes):
    model = t5.T5(dataclasses.replace(config, **changes))
    inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    expected = peer_logits(peer, inputs, decoder_inputs)
    ours = our_logits(model, params, inputs, decoder_inputs)
    assert np.std(expected) > 0.3
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_logits_of_t5_1_0_are_hugging_faces(peer_of, config, batch):
    config = dataclasses.replace(config, mlp_activations=("relu",), logits_via_embedding=True)
    model = t5.T5(config)
    params = jax.jit(model.init)(jax.random.key(5))
    inputs, decoder_inputs = batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    expected = peer_logits(peer_of(config, params), inputs, decoder_inputs)
    ours = our_logits(model, params, inputs, decoder_inputs)
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_far_positions_have_hugging_faces_bias(peer, model, params):
    inputs = np.random.default_rng(0).integers(2, 97, (1, 200)).astype(np.int32)
    decoder_inputs = np.random.default_rng(1).integers(2, 97, (1, 160)).astype(np.int32)
    expected = peer_logits(peer, inputs, decoder_inputs)
    ours = our_logits(model, params, jnp.asarray(inputs), jnp.asarray(decoder_inputs))
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_a_packed_row_has_the_logits_of_each_example_alone(peer, model, params):
    random = np.random.default_rng(2)
    examples = [(4, 3), (7, 5)]
    inputs = [random.integers(2, 97, (1, n)).astype(np.int32) for n, _ in examples]
    decoder_inputs = [random.integers(2, 97, (1, n)).astype(np.int32) for _, n in examples]
    for row in decoder_inputs:
        row[0, 0] = 0
    expected = np.concatenate(
        [peer_logits(peer, a, b)[0] for a, b in zip(inputs, decoder_inputs, strict=True)]
    )
    packed = jnp.pad(jnp.asarray(np.concatenate(inputs, axis=1)), ((0, 0), (0, 2)))
    packed_targets = jnp.asarray(np.concatenate(decoder_inputs, axis=1))
    encoder_segments = jnp.asarray([[1] * 4 + [2] * 7 + [0] * 2])
    decoder_segments = jnp.asarray([[1] * 3 + [2] * 5])
    encoded = model.encode(params, packed, encoder_segments)
    hidden = model.decode(
        params, encoded, packed, packed_targets, encoder_segments, decoder_segments
    )
    np.testing.assert_allclose(model.logits(params, hidden)[0], expected, atol=1e-4)


def test_loss_and_gradient_are_hugging_faces(peer, model, params, batch):
    import torch

    inputs = torch.from_numpy(np.array(batch["encoder_input_tokens"])).long()
    labels = torch.from_numpy(np.array(batch["decoder_target_tokens"])).long()
    peer.zero_grad()
    expected = peer(
        input_ids=inputs,
        attention_mask=(inputs > 0).long(),
        labels=labels.masked_fill(labels == 0, -100),
    ).loss
    expected.backward()

    def mean_loss(params):
        sums = losses.loss(model, params, batch, z_loss=0.0)
        return sums.total / sums.weight

    ours, gradient = jax.jit(jax.value_and_grad(mean_loss))(params)
    np.testing.assert_allclose(ours, expected.item(), atol=1e-5)
    biases = gradient["encoder"]["relpos_bias"]["rel_embedding"]
    attention = peer.encoder.block[0].layer[0].SelfAttention
    np.testing.assert_allclose(biases.T, attention.relative_attention_bias.weight.grad, atol=1e-5)
    kernel = gradient["decoder"]["layers"]["mlp"]["wi_0"]["kernel"][1]
    reference = peer.decoder.block[1].layer[2].DenseReluDense.wi_0.weight.grad
    np.testing.assert_allclose(kernel.T, reference, atol=1e-5)
    np.testing.assert_allclose(
        gradient["token_embedder"]["embedding"], peer.shared.weight.grad, atol=1e-5
    )


def test_greedy_decoding_is_hugging_faces(peer, model, params, batch):
    import torch

    inputs = torch.from_numpy(np.array(batch["encoder_input_tokens"])).long()
    expected = peer.generate(
        input_ids=inputs, attention_mask=(inputs > 0).long(), max_new_tokens=12, do_sample=False
    )[:, 1:].numpy()
    ours = decoding.greedy(
        model, params, batch["encoder_input_tokens"], max_decode_length=expected.shape[1]
    )
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beam_search_is_hugging_faces(peer, model, params, batch, penalty):
    import torch

    inputs = np.concatenate([batch["encoder_input_tokens"], batch["encoder_input_tokens"][:, ::-1]])
    inputs[3] = np.roll(inputs[3], -5)  # its padding behind it again
    # A token that comes early in one of the targets ends them, so lengths differ.
    eos = int(decoding.greedy(model, params, inputs, max_decode_length=4, eos_id=-5)[0, 2])
    peer_inputs = torch.from_numpy(inputs).long()
    expected = peer.generate(
        input_ids=peer_inputs,
        attention_mask=(peer_inputs > 0).long(),
        max_new_tokens=8,
        num_beams=4,
        num_return_sequences=3,
        early_stopping="never",
        length_penalty=penalty,
        eos_token_id=eos,
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    settings = decoding.DecodingSettings(
        num_beams=4, num_decodes=3, length_penalty=penalty, length_penalty_form="length"
    )
    ours = decoding.decode(
        model, params, jnp.asarray(inputs), settings, max_decode_length=8, eos_id=eos
    )
    sequences = expected.sequences[:, 1:].numpy()
    # Behind the end it pads with the end.
    ended = np.cumsum(np.cumsum(sequences == eos, axis=1), axis=1) > 1
    tokens = np.asarray(ours.tokens).reshape(12, 8)
    np.testing.assert_array_equal(tokens[:, : sequences.shape[1]], np.where(ended, 0, sequences))
    scores = expected.sequences_scores.numpy()
    np.testing.assert_allclose(np.asarray(ours.scores).ravel(), scores, atol=1e-4)
    assert 2 < len({np.count_nonzero(row) for row in tokens})


def test_scores_are_sums_of_hugging_faces_log_probabilities(peer, model, params, batch):
    import torch

    choices = np.array([[5, 1, 0, 0], [7, 8, 9, 1], [20, 21, 1, 0]], np.int32)
    owner = np.array([0, 0, 1], np.int32)
    inputs = np.asarray(batch["encoder_input_tokens"])[owner]
    decoder_inputs = np.pad(choices[:, :-1], ((0, 0), (1, 0)))
    logits = torch.from_numpy(peer_logits(peer, inputs, decoder_inputs))
    tokens = torch.from_numpy(choices).long()
    log_probabilities = torch.log_softmax(logits, -1).gather(-1, tokens[..., None])[..., 0]
    expected = (log_probabilities * (tokens > 0)).sum(1).numpy()
    ours = scoring.score_choices(model, params, batch["encoder_input_tokens"], choices, owner)
    np.testing.assert_allclose(ours, expected, atol=1e-4)
