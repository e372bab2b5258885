"""GPT-2 and Llama from a Hugging Face folder to a run and back, and what transformers computes of text."""

import dataclasses

import gin
import jax
import numpy as np
import pytest

from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.interop.parameters import load
from instrux.models import scoring
from instrux.models.decoder_only import DecoderConfig, DecoderOnly
from instrux.models.families import model_of
from instrux.training.checkpoints import load_run, save_run
from instrux.training.run_folder import RunDescription
from launch import foreign, gin_config
from launch.convert import convert

GPT_2 = DecoderConfig(
    vocab_size=259,
    emb_dim=8,
    num_heads=2,
    head_dim=4,
    mlp_dim=12,
    num_layers=3,
    max_positions=64,
    bos_id=258,
)
LLAMA = dataclasses.replace(
    GPT_2,
    positions="rotary",
    norm="rms",
    use_bias=False,
    mlp_activations=("silu", "linear"),
    logits_via_embedding=False,
    num_kv_heads=1,
)


@pytest.fixture
def merges(tmp_path):
    """A vocabulary of 256 bytes, two merges and the end of sequence."""
    path = tmp_path / "merges.txt"
    path.write_text("#version: 0.2\nĠ t\nh e\n", encoding="utf-8")
    return VocabularySpec.parse(str(path))


@pytest.mark.parametrize("config", [GPT_2, LLAMA], ids=["gpt2", "llama"])
def test_a_run_goes_to_a_folder_and_back_without_losing_a_bit(tmp_path, config, merges):
    params = DecoderOnly(config).init(jax.random.key(0))
    description = RunDescription.of(config, merges, inputs_length=8, targets_length=4)
    save_run(tmp_path / "run", description, params, step=3)
    convert(("instrux", str(tmp_path / "run")), ("hf", str(tmp_path / "hf")))
    folder = foreign.open_weights(tmp_path / "hf")
    # Our 0 pads and is the row of the byte 0xFF there, GPT-2's 187; our 187 is "!", GPT-2's 0.
    ours, theirs = (
        np.asarray(params["token_embedder"]["embedding"]),
        folder.read("token_embedder.embedding", None),
    )
    np.testing.assert_array_equal(theirs[[0, 187]], ours[[187, 0]])
    np.testing.assert_array_equal(theirs[1:187], ours[1:187])
    vocabulary = None if config is GPT_2 else str(merges)
    made = convert(
        ("hf", str(tmp_path / "hf")), ("instrux", str(tmp_path / "back")), vocabulary=vocabulary
    )
    assert (made.config, made.step) == (config, 3)
    back = load_run(tmp_path / "back")
    jax.tree.map(np.testing.assert_array_equal, back.params, params)
    lengths = RunDescription.read(tmp_path / "back")
    expected = (48, 16) if config is GPT_2 else (1024, 256)
    assert (lengths.inputs_length, lengths.targets_length) == expected


def test_t5x_gets_no_decoder_only_model(tmp_path, merges):
    params = DecoderOnly(GPT_2).init(jax.random.key(0))
    description = RunDescription.of(GPT_2, merges, inputs_length=8, targets_length=4)
    save_run(tmp_path / "run", description, params, step=3)
    with pytest.raises(InputError, match="not written for T5X; choose `hf`"):
        convert(("instrux", str(tmp_path / "run")), ("t5x", str(tmp_path / "out")))


def test_a_folder_whose_ids_are_not_gpt_2s_is_told(tmp_path, merges):
    params = DecoderOnly(GPT_2).init(jax.random.key(0))
    description = RunDescription.of(GPT_2, merges, inputs_length=8, targets_length=4)
    save_run(tmp_path / "run", description, params, step=3)
    convert(("instrux", str(tmp_path / "run")), ("hf", str(tmp_path / "hf")))
    vocab = tmp_path / "hf" / "vocab.json"
    vocab.write_text(vocab.read_text().replace('"!": 0', '"!": 7'))
    with pytest.raises(InputError, match=r"vocab.json: its ids are not those that GPT-2 gives"):
        foreign.vocabulary_of(foreign.open_weights(tmp_path / "hf"))


def test_a_runs_model_is_that_of_the_checkpoint_it_starts_from(tmp_path, merges):
    params = DecoderOnly(LLAMA).init(jax.random.key(0))
    description = RunDescription.of(LLAMA, merges, inputs_length=8, targets_length=4)
    save_run(tmp_path / "run", description, params, step=3)
    convert(("instrux", str(tmp_path / "run")), ("hf", str(tmp_path / "hf")))
    model = foreign.checkpoint_model(path=str(tmp_path / "hf"), dropout_rate=0.25)
    assert model == dataclasses.replace(LLAMA, dropout_rate=0.25)
    gin_config.parse(
        ["models/of_checkpoint.gin"],
        [
            f"INITIAL_CHECKPOINT_PATH='{tmp_path / 'hf'}'",
            "foreign.checkpoint_model.dropout_rate=0.25",
        ],
    )
    assert gin_config.macro("MODEL") == model
    gin.clear_config()
    weights = foreign.open_weights(tmp_path / "hf")
    foreign.check_same_model(weights, model)
    with pytest.raises(
        InputError, match=r"num_heads = 2, this run's has 4; set DecoderConfig\.num"
    ):
        foreign.check_same_model(weights, dataclasses.replace(model, num_heads=4, head_dim=2))
    with pytest.raises(InputError, match="no such setting"):
        foreign.checkpoint_model(path=str(tmp_path / "hf"), depth=3)


@pytest.mark.peers
def test_answers_are_scored_as_transformers_scores_them(tmp_path, shared_data):
    """Real text, with GPT-2's own id 0 in it, through its own tokenizer and model."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=64)
    ).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    model.save_pretrained(tmp_path)
    for name in ("merges.txt", "vocab.json"):
        (tmp_path / name).write_bytes((shared_data / "vocab" / "gpt2" / name).read_bytes())
    tokenizer = transformers.GPT2Tokenizer.from_pretrained(tmp_path)
    prompt, choices = "Stop! Is it so? No! Never!", [" yes!", " no", "!!"]

    def expected(choice):
        ids = [50256, *tokenizer.encode(prompt), *tokenizer.encode(choice), 50256]
        count = len(tokenizer.encode(choice)) + 1
        with torch.no_grad():
            logs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        return sum(
            float(logs[place - 1, ids[place]]) for place in range(len(ids) - count, len(ids))
        )

    weights = foreign.open_weights(tmp_path)
    vocabulary = foreign.vocabulary_of(weights)
    assert vocabulary is not None
    weights = foreign.between_ids(weights, vocabulary)
    ours, loaded = model_of(weights.config), vocabulary.load()
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.eval_shape(ours.init, jax.random.key(0))
    params = load(
        weights,
        jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes
        ),
    )
    tokens = np.zeros((3, 4), np.int32)
    for row, choice in enumerate(choices):
        ids = [*loaded.encode(choice), loaded.eos_id]
        tokens[row, : len(ids)] = ids
    prompts = np.array([loaded.encode(prompt)], np.int32)
    assert (prompts > 0).all()
    scores = scoring.score_choices(ours, params, prompts, tokens, np.zeros(3, np.int32))
    np.testing.assert_allclose(scores, [expected(choice) for choice in choices], atol=1e-4)
