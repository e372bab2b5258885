"""Entropy between two sentences, the end of sequence, and answers cut at a newline."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.data.examples import RenderedExample
from instrux.data.vocabularies import VocabularySpec
from instrux.errors import InputError
from instrux.evaluation.metrics import METRICS
from instrux.evaluation.pair_entropy import entropy_predictions, pair_entropy, pair_of
from instrux.evaluation.reader import Reader, ReadingSettings
from instrux.models.decoder_config import DecoderConfig
from instrux.models.decoder_only import DecoderOnly

VOCABULARY = VocabularySpec.parse("bytes").load()
MODEL = DecoderOnly(
    DecoderConfig(
        vocab_size=VOCABULARY.vocab_size,
        emb_dim=16,
        num_heads=2,
        head_dim=8,
        mlp_dim=32,
        num_layers=1,
        scan_layers=False,
    )
)
READING = ReadingSettings(inputs_length=32, targets_length=16, batch_size=2)


# Arithmetic by hand: 0.9 log2(1 / 0.9) + 0.1 log2(1 / 0.1) = 0.1368 + 0.3322.
@pytest.mark.parametrize(
    ("shares", "bits"), [((0.5, 0.5), 1.0), ((0.9, 0.1), 0.4690), ((1.0, 1e-300), 0.0)]
)
def test_entropy_in_bits(shares, bits):
    nats = [math.log(share) for share in shares]
    assert pair_entropy(nats) == pytest.approx(bits, abs=5e-5)
    assert pair_entropy([each - 900 for each in nats]) == pytest.approx(bits, abs=5e-5)


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(lambda leaf: 3.0 * leaf, MODEL.init(jax.random.key(0)))


@pytest.fixture(scope="module")
def reader(params):
    return Reader(MODEL, params, VOCABULARY, READING)


def _plain(params, prompt, text, *, end):
    """The log-probabilities of a text's tokens behind `bos_id` and the prompt, unpadded."""
    before = [MODEL.config.bos_id, *VOCABULARY.encode(prompt)]
    tokens = [*VOCABULARY.encode(text), *([VOCABULARY.eos_id] if end else [])]
    fed = jnp.asarray([[*before, *tokens[:-1]]])
    hidden = MODEL.decode(params, fed)
    logits = MODEL.logits(params, hidden)[0]
    log_probabilities = np.asarray(jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1))
    return [log_probabilities[len(before) - 1 + i, token] for i, token in enumerate(tokens)]


def _example(prompt, *sentences):
    return RenderedExample(prompt, sentences[0], "pairs/default/test/0", "basic", sentences)


def test_a_decoder_scores_the_whole_sentence_without_the_end(params, reader):
    examples = [_example("", "He runs.", "She runs."), _example("Say:", " He.", " She.")]
    inputs = reader.tokenize_inputs([each.inputs for each in examples])
    scores = reader.rank(inputs, list(map(pair_of, examples)), whole_texts=True)
    made = entropy_predictions(examples, scores)
    for example, prediction in zip(examples, made, strict=True):
        expected = [
            float(sum(_plain(params, example.inputs, text, end=False)))
            for text in example.answer_choices or ()
        ]
        np.testing.assert_allclose(prediction.scores or (), expected, atol=1e-3)
        assert prediction.credit == pytest.approx(100 * pair_entropy(expected), abs=0.05)
        assert prediction.correct is None


def test_options_are_ranked_by_the_mean_of_their_own_tokens(params, reader):
    settings = dataclasses.replace(READING, normalize_lengths=True, score_end=False)
    ours = Reader(MODEL, params, VOCABULARY, settings)
    options = (" a", " a longer one")
    (found,) = ours.rank(ours.tokenize_inputs(["Q:"]), [options])
    expected = [float(np.mean(_plain(params, "Q:", text, end=False))) for text in options]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    (with_end,) = reader.rank(reader.tokenize_inputs(["Q:"]), [options])
    ends = [float(sum(_plain(params, "Q:", text, end=True))) for text in options]
    np.testing.assert_allclose(with_end, ends, atol=1e-3)


def test_an_entropy_needs_two_sentences():
    with pytest.raises(InputError, match="entropy is between two sentences, and it has 3"):
        pair_of(_example("", "a", "b", "c"))


def test_answers_are_cut_at_the_first_newline(params, reader, monkeypatch):
    written = " Paris.\nQ: And of Italy?\nA: Rome."
    monkeypatch.setattr(VOCABULARY, "decode", lambda ids: written)
    inputs = reader.tokenize_inputs(["Q:"])
    (whole,) = reader.generate(inputs)
    cut = Reader(MODEL, params, VOCABULARY, dataclasses.replace(READING, stop="\n"))
    (first,) = cut.generate(inputs)
    assert (whole.texts[0], first.texts[0]) == (written.strip(), "Paris.")
    with pytest.raises(InputError, match="stop is empty"):
        dataclasses.replace(READING, stop="")


def test_a_token_that_holds_the_stop_ends_the_answer(params, reader):
    inputs = reader.tokenize_inputs(["Q: one", "Q: two", "Q: three"])
    whole = reader.generate(inputs)
    stop = next(character for character in whole[0].texts[0][1:] if character.strip())
    cut = Reader(MODEL, params, VOCABULARY, dataclasses.replace(READING, stop=stop))
    found = cut.generate(inputs)
    assert [one.texts[0] for one in found] == [
        one.texts[0].partition(stop)[0].strip() for one in whole
    ]
    assert len(found[0].tokens[0]) < len(whole[0].tokens[0])
    assert stop in VOCABULARY.decode(found[0].tokens[0][-1:])


def test_a_pronoun_s_answer_counts_by_whether_it_names_the_candidate():
    metric = METRICS["pronoun_referent"]
    assert metric.credit("The city councilmen.", ["the city councilmen"]) == 100
    assert metric.credit("councilmen", ["the city councilmen"]) == 100
    assert metric.credit("the demonstrators", ["the city councilmen"]) == 0
    assert metric.credit("the demonstrators", ["not: the city councilmen"]) == 100
    assert metric.credit("the city councilmen", ["not: the city councilmen"]) == 0
    assert metric.credit("", ["the city councilmen"]) == 0
