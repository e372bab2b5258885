from instrux.prompts import seeded_rng


def test_the_draws_never_change():
    # First output of the Mersenne Twister seeded with blake2b-128 of "0:5:a/b/c:t", by hand.
    assert seeded_rng(0, "a/b/c", "t").random() == 0.5726904132878136


def test_every_argument_counts():
    firsts = {
        seeded_rng(seed, example, template).random()
        for seed in (0, 1)
        for example in ("d/c/train/1", "d/c/train/11")
        for template in ("1:a", "a")
    }
    assert len(firsts) == 8
