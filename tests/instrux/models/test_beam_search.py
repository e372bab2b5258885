"""Beam search and draws over a chain whose probabilities are written down here."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from instrux.errors import InputError
from instrux.models import beam_search, sampling
from instrux.models.decoding_settings import DecodingSettings

EOS = 1
# Rows: the token before (0 the start); columns: 0 padding, 1 the end, 2, 3.
TABLE = np.array(
    [
        [0.0, 0.1, 0.5, 0.4],  # start: 2 looks better than 3
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.3, 0.4, 0.3],  # after 2 nothing is likely
        [0.0, 0.9, 0.05, 0.05],  # after 3 the end is
    ]
)


def found_by(table, length, *, prefix=None, done=None, **settings):
    settings = DecodingSettings(**settings)
    with np.errstate(divide="ignore"):
        logs = jnp.asarray(np.log(table), jnp.float32)
    done = np.zeros(1 if prefix is None else len(prefix), bool) if done is None else done

    def step(fed, caches, index, so_far):
        del index, so_far
        # The cache holds the last two tokens fed: it must have followed its beam.
        caches = jnp.stack([caches[:, 1], fed], axis=1)
        return logs[caches[:, 1]], caches

    rows = done.size * settings.num_beams
    return jax.tree.map(
        np.asarray,
        beam_search.search(
            step,
            jnp.zeros((rows,), jnp.int32),
            jnp.zeros((rows, 2), jnp.int32),
            settings,
            max_decode_length=length,
            eos_id=EOS,
            prefix=None if prefix is None else jnp.asarray(prefix),
            done=jnp.asarray(done),
        ),
    )


def test_two_beams_find_what_a_greedy_search_misses():
    # Worked by hand. Greedy goes 2 (0.5), 2 (0.4). Two beams go on with 2 and 3, and look at
    # "3 end" (0.4 * 0.9 = 0.36) and "2 2" (0.2) before "2 end" and "2 3" (0.15 each). So the end
    # of "2" is not among the best two, and the next to end is "2 3 end" (0.15 * 0.9).
    found = found_by(TABLE, 4, num_beams=2, length_penalty=0.0)
    assert found.tokens[0].tolist() == [[3, EOS, 0, 0], [2, 3, EOS, 0]]
    np.testing.assert_allclose(np.exp(found.scores[0]), [0.36, 0.135], rtol=1e-5)
    np.testing.assert_allclose(np.exp(found.token_scores[0, 0, :2]), [0.4, 0.9], rtol=1e-5)
    assert not found.token_scores[0, 0, 2:].any()


@pytest.mark.parametrize("seed", range(4))
def test_one_beam_is_a_greedy_search(seed):
    table = np.random.default_rng(seed).dirichlet(np.ones(7), size=7)
    expected, token = np.zeros(6, np.int32), 0
    for place in range(6):
        token = int(np.argmax(table[token]))
        expected[place] = token
        if token == EOS:
            break
    found = found_by(table, 6, num_beams=1, length_penalty=0.0)
    np.testing.assert_array_equal(found.tokens[0, 0], expected)


@pytest.mark.parametrize(("form", "divisor"), [("brevity", (7 / 6) ** 0.6), ("length", 2**0.6)])
def test_the_score_is_divided_by_the_penalty_of_its_length(form, divisor):
    found = found_by(TABLE, 4, num_beams=2, length_penalty=0.6, length_penalty_form=form)
    assert found.tokens[0, 0].tolist() == [3, EOS, 0, 0]
    np.testing.assert_allclose(found.scores[0, 0], np.log(0.36) / divisor, rtol=1e-5)


def test_a_length_penalty_can_prefer_a_longer_target():
    # "end" has 0.3; "2 2 2 2" has 0.7 ** 4 = 0.24, less, but it is longer.
    table = np.array([[0, 0.3, 0.7], [0, 1, 0], [0, 0.3, 0.7]])
    short = found_by(table, 4, num_beams=2, length_penalty=0.0)
    long = found_by(table, 4, num_beams=2, length_penalty=2.0, length_penalty_form="length")
    assert short.tokens[0, 0].tolist() == [EOS, 0, 0, 0]
    assert long.tokens[0, 0].tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.5])
def test_enough_beams_find_the_best_of_all_targets(penalty):
    random = np.random.default_rng(5)
    table = random.dirichlet(np.ones(5) * 0.6, 6)
    table = np.pad(table, ((0, 0), (1, 0)))  # padding is never a token
    length = 3
    targets = [
        ids[: ids.index(EOS) + 1] if EOS in ids else ids
        for ids in itertools.product(range(1, 6), repeat=length)
    ]

    def score(ids):
        chain = zip((0, *ids[:-1]), ids, strict=True)
        total = sum(np.log(table[before, token]) for before, token in chain)
        return total / ((5 + len(ids)) / 6) ** penalty

    best = sorted({ids: score(ids) for ids in targets}.items(), key=lambda pair: -pair[1])[:4]
    found = found_by(table, length, num_beams=5 * 5 * 5, length_penalty=penalty)
    for place, (ids, expected) in enumerate(best):
        assert tuple(found.tokens[0, place][: len(ids)]) == ids
        np.testing.assert_allclose(found.scores[0, place], expected, rtol=1e-4)


def test_a_prefix_is_given_and_counts_for_nothing():
    prefix = np.array([[2, 0, 0, 0], [3, 2, 0, 0]], np.int32)
    found = found_by(TABLE, 4, prefix=prefix, num_beams=2, length_penalty=1.0)
    assert (found.tokens[0, :, 0] == 2).all()
    assert (found.tokens[1, :, :2] == [3, 2]).all()
    # Behind "2": "3 end" with 0.3 * 0.9 = 0.27 over ((5 + 2) / 6); "end" with 0.3 over 1.
    expected = sorted([np.log(0.27) * 6 / 7, np.log(0.3)], reverse=True)
    np.testing.assert_allclose(found.scores[0], expected, rtol=1e-5)
    assert not found.token_scores[:, :, 0].any()


def test_a_prompt_that_wants_nothing_costs_and_gives_nothing():
    found = found_by(TABLE, 3, done=np.array([True, False]), num_beams=2)
    assert (found.scores[0] <= 0.5 * beam_search.NOTHING).all()
    assert found.tokens[1, 0].tolist() == [3, EOS, 0]


LOGITS = jnp.log(jnp.asarray([[0.5, 0.2, 0.15, 0.1, 0.05], [0.05, 0.1, 0.15, 0.2, 0.5]]))


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"top_k": 2, "top_p": 1.0}, [[0, 1], [3, 4]]),
        ({"top_k": 0, "top_p": 0.5}, [[0], [4]]),  # reached exactly: no more
        ({"top_k": 0, "top_p": 0.6}, [[0, 1], [3, 4]]),
        ({"top_k": 0, "top_p": 1e-6}, [[0], [4]]),
        # Of the three left 0.5 is 0.588, and with 0.2 it is 0.82.
        ({"top_k": 3, "top_p": 0.8}, [[0, 1], [3, 4]]),
        ({"top_k": 9, "top_p": 1.0}, [[0, 1, 2, 3, 4]] * 2),
    ],
)
def test_only_the_most_probable_tokens_are_left(settings, left):
    narrowed = np.asarray(sampling.narrowed(LOGITS, **settings))
    assert [np.flatnonzero(np.isfinite(row)).tolist() for row in narrowed] == left
    kept = np.isfinite(narrowed)
    np.testing.assert_array_equal(narrowed[kept], np.asarray(LOGITS)[kept])


def test_draws_keep_to_the_tokens_left_and_follow_their_row():
    settings = DecodingSettings(temperature=1.0, top_k=2)
    keys = jax.random.split(jax.random.key(0), 2000)
    drawn = np.asarray(sampling.draw(jnp.tile(LOGITS[:1], (2000, 1)), keys, settings))
    shares = np.bincount(drawn, minlength=5) / 2000
    np.testing.assert_allclose(shares, [5 / 7, 2 / 7, 0, 0, 0], atol=0.04)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"num_beams": 2, "temperature": 1.0}, "beam search draws nothing"),
        ({"num_beams": 2, "num_decodes": 3}, "set num_beams to as many"),
        ({"num_decodes": 2}, "set num_beams to as many"),
        ({"top_p": 0.9}, "nothing is drawn: set temperature above 0"),
        ({"temperature": 1.0, "top_p": 0.0}, "DecodingSettings.top_p = 0.0"),
        ({"temperature": -1.0}, "give 0 to decode greedily"),
        ({"length_penalty_form": "t5x"}, "choose from brevity, length"),
        ({"num_beams": 0}, "give at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_told(changes, told):
    with pytest.raises(InputError, match=told):
        DecodingSettings(**changes)
