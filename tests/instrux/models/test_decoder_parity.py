"""The numbers of Hugging Face's GPT-2 and Llama on the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.models import decoding, scoring
from instrux.models.decoder_only import DecoderConfig, DecoderOnly

pytestmark = pytest.mark.peers

VOCAB, BOS = 61, 3
GPT_2 = DecoderConfig(
    vocab_size=VOCAB,
    emb_dim=24,
    num_heads=3,
    head_dim=8,
    mlp_dim=40,
    num_layers=2,
    max_positions=48,
    bos_id=BOS,
)
LLAMA = DecoderConfig(
    vocab_size=VOCAB,
    emb_dim=24,
    num_heads=4,
    head_dim=8,
    mlp_dim=40,
    num_layers=2,
    num_kv_heads=2,
    positions="rotary",
    norm="rms",
    use_bias=False,
    mlp_activations=("silu", "linear"),
    logits_via_embedding=False,
    scan_layers=False,
    bos_id=BOS,
)


def gpt_2_parameters(weights, layers):
    def stacked(name):
        return np.stack([weights[f"transformer.h.{layer}.{name}"] for layer in range(layers)])

    def dense(name):
        return {"kernel": stacked(f"{name}.weight"), "bias": stacked(f"{name}.bias")}

    def norm(name):
        return {"scale": stacked(f"{name}.weight"), "bias": stacked(f"{name}.bias")}

    inward = dense("attn.c_attn")
    attention = {
        part: {leaf: np.split(array, 3, axis=-1)[index] for leaf, array in inward.items()}
        for index, part in enumerate(("query", "key", "value"))
    }
    return {
        "token_embedder": {"embedding": weights["transformer.wte.weight"]},
        "position_embedder": {"embedding": weights["transformer.wpe.weight"]},
        "decoder": {
            "layers": {
                "pre_attention_layer_norm": norm("ln_1"),
                "attention": {**attention, "out": dense("attn.c_proj")},
                "pre_mlp_layer_norm": norm("ln_2"),
                "mlp": {"wi": dense("mlp.c_fc"), "wo": dense("mlp.c_proj")},
            },
            "decoder_norm": {
                "scale": weights["transformer.ln_f.weight"],
                "bias": weights["transformer.ln_f.bias"],
            },
        },
    }


def llama_parameters(weights, layers):
    def stacked(name):
        return np.stack([weights[f"model.layers.{layer}.{name}.weight"] for layer in range(layers)])

    def dense(name):
        return {"kernel": stacked(name).swapaxes(1, 2)}

    parts = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "o_proj"}
    return {
        "token_embedder": {"embedding": weights["model.embed_tokens.weight"]},
        "decoder": {
            "layers": {
                "pre_attention_layer_norm": {"scale": stacked("input_layernorm")},
                "attention": {part: dense(f"self_attn.{name}") for part, name in parts.items()},
                "pre_mlp_layer_norm": {"scale": stacked("post_attention_layernorm")},
                "mlp": {
                    "wi_0": dense("mlp.gate_proj"),
                    "wi_1": dense("mlp.up_proj"),
                    "wo": dense("mlp.down_proj"),
                },
            },
            "decoder_norm": {"scale": weights["model.norm.weight"]},
            "logits_dense": {"kernel": weights["lm_head.weight"].T},
        },
    }


def hugging_face_gpt_2():
    import transformers

    settings = transformers.GPT2Config(
        vocab_size=VOCAB,
        n_embd=GPT_2.emb_dim,
        n_head=GPT_2.num_heads,
        n_inner=GPT_2.mlp_dim,
        n_layer=GPT_2.num_layers,
        n_positions=GPT_2.max_positions,
        eos_token_id=1,
        bos_token_id=BOS,
    )
    return transformers.GPT2LMHeadModel(settings), gpt_2_parameters


def hugging_face_llama():
    import transformers

    settings = transformers.LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=LLAMA.emb_dim,
        num_attention_heads=LLAMA.num_heads,
        num_key_value_heads=LLAMA.num_kv_heads,
        head_dim=LLAMA.head_dim,
        intermediate_size=LLAMA.mlp_dim,
        num_hidden_layers=LLAMA.num_layers,
        rms_norm_eps=LLAMA.layer_norm_epsilon,
        eos_token_id=1,
        bos_token_id=BOS,
        pad_token_id=0,
    )
    return transformers.LlamaForCausalLM(settings), llama_parameters


@pytest.fixture(scope="module", params=["gpt_2", "llama"])
def case(request):
    """The peer, our model, and the peer's random weights, of trained size, in our names."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    config = {"gpt_2": GPT_2, "llama": LLAMA}[request.param]
    build = {"gpt_2": hugging_face_gpt_2, "llama": hugging_face_llama}[request.param]
    peer, parameters = build()
    torch.manual_seed(4)
    with torch.no_grad():
        for weight in peer.parameters():
            offset = 1.0 if weight.ndim == 1 else 0.0
            weight.copy_(offset + 0.3 * torch.randn(weight.shape))
    peer.eval()
    weights = {name: weight.numpy() for name, weight in peer.state_dict().items()}
    params = jax.tree.map(jnp.asarray, parameters(weights, config.num_layers))
    return peer, DecoderOnly(config), params


def peer_logits(peer, tokens, mask=None):
    import torch

    tokens = torch.from_numpy(np.array(tokens)).long()
    mask = torch.ones_like(tokens) if mask is None else torch.from_numpy(np.array(mask)).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        output = peer(input_ids=tokens, attention_mask=mask, position_ids=positions)
    return output.logits.numpy()


def tokens_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(4, VOCAB, shape).astype(np.int32)


def test_the_tree_is_that_of_init(case):
    _, model, params = case
    drawn = jax.eval_shape(model.init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, drawn)


def test_logits_of_padded_rows_are_hugging_faces(case):
    peer, model, params = case
    tokens = tokens_of(2, 9)
    mask = np.ones((2, 9), np.int32)
    mask[1, 5:] = 0
    expected = peer_logits(peer, tokens, mask)[mask > 0]
    hidden = jax.jit(model.decode)(params, tokens)
    ours = np.asarray(model.logits(params, hidden))[mask > 0]
    assert np.std(expected) > 0.3
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_logits_of_rows_padded_in_front_are_hugging_faces(case):
    peer, model, params = case
    tokens = tokens_of(2, 9, seed=1)
    mask = np.ones((2, 9), np.int32)
    mask[1, :4] = 0
    expected = peer_logits(peer, tokens, mask)[mask > 0]
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    hidden = model.decode(params, jnp.asarray(tokens), jnp.asarray(mask), jnp.asarray(positions))
    ours = np.asarray(model.logits(params, hidden))[mask > 0]
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_a_packed_row_has_the_logits_of_each_example_alone(case):
    peer, model, params = case
    first, second = tokens_of(1, 4, seed=2), tokens_of(1, 7, seed=3)
    expected = np.concatenate([peer_logits(peer, first)[0], peer_logits(peer, second)[0]])
    packed = np.concatenate([first, second], axis=1)
    segments = jnp.asarray([[1] * 4 + [2] * 7])
    positions = jnp.asarray([[*range(4), *range(7)]])
    hidden = model.decode(params, jnp.asarray(packed), segments, positions)
    np.testing.assert_allclose(model.logits(params, hidden)[0], expected, atol=1e-4)


def test_greedy_decoding_is_hugging_faces(case):
    import torch

    peer, model, params = case
    prompts = tokens_of(2, 6, seed=5)
    prompts[1, 4:] = 0
    ours = np.asarray(decoding.greedy(model, params, prompts, max_decode_length=8))
    for row, prompt in zip(ours, prompts, strict=True):
        fed = torch.from_numpy(np.array([[BOS, *prompt[prompt > 0]]])).long()
        generated = peer.generate(
            input_ids=fed, attention_mask=torch.ones_like(fed), max_new_tokens=8, do_sample=False
        )[0, fed.shape[1] :].numpy()
        np.testing.assert_array_equal(row[: len(generated)], generated)
        assert not row[len(generated) :].any()


def test_beam_search_is_hugging_faces(case):
    import torch

    peer, model, params = case
    prompts = tokens_of(2, 6, seed=5)
    prompts[1, 4:] = 0
    eos = int(decoding.greedy(model, params, prompts, max_decode_length=4, eos_id=-5)[0, 2])
    settings = decoding.DecodingSettings(
        num_beams=3, num_decodes=2, length_penalty=1.0, length_penalty_form="length"
    )
    ours = decoding.decode(model, params, prompts, settings, max_decode_length=6, eos_id=eos)
    for row, prompt in enumerate(prompts):
        fed = torch.from_numpy(np.array([[BOS, *prompt[prompt > 0]]])).long()
        expected = peer.generate(
            input_ids=fed,
            attention_mask=torch.ones_like(fed),
            max_new_tokens=6,
            num_beams=3,
            num_return_sequences=2,
            early_stopping="never",
            length_penalty=1.0,
            eos_token_id=eos,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
        sequences = expected.sequences[:, fed.shape[1] :].numpy()
        ended = np.cumsum(np.cumsum(sequences == eos, axis=1), axis=1) > 1
        tokens = np.asarray(ours.tokens[row])[:, : sequences.shape[1]]
        np.testing.assert_array_equal(tokens, np.where(ended, 0, sequences))
        np.testing.assert_allclose(ours.scores[row], expected.sequences_scores, atol=1e-4)


def test_scores_are_sums_of_hugging_faces_log_probabilities(case):
    import torch

    peer, model, params = case
    prompts = tokens_of(2, 6, seed=6)
    prompts[1, 3:] = 0
    choices = np.array([[5, 1, 0, 0], [7, 8, 9, 1], [20, 21, 1, 0]], np.int32)
    owner = np.array([1, 0, 1], np.int32)
    ours = scoring.score_choices(model, params, prompts, choices, owner)
    for score, choice, own in zip(ours, choices, owner, strict=True):
        prompt, choice = prompts[own][prompts[own] > 0], choice[choice > 0]
        fed = np.array([[BOS, *prompt, *choice]], np.int32)
        logits = torch.from_numpy(peer_logits(peer, fed))[0, len(prompt) : -1]
        expected = torch.log_softmax(logits, -1)[range(len(choice)), choice].sum().item()
        np.testing.assert_allclose(score, expected, atol=1e-4)
