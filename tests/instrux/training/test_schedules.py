import math

import pytest

from instrux.errors import InputError
from instrux.training import schedules


def test_constant_is_the_same_at_every_step():
    schedule = schedules.constant(3e-4)
    assert [float(schedule(step)) for step in (0, 1, 10**6)] == pytest.approx([3e-4] * 3)


def test_linear_warmup_rises_to_the_peak_and_stays():
    schedule = schedules.linear_warmup(0.1, 4)
    values = [float(schedule(step)) for step in range(6)]
    assert values == pytest.approx([0, 0.025, 0.05, 0.075, 0.1, 0.1])


def test_linear_decay_warms_up_then_falls_to_the_floor_at_the_end():
    schedule = schedules.linear_decay(1.0, total_steps=6, warmup_steps=2, floor_share=0.2)
    values = [float(schedule(step)) for step in range(8)]
    assert values == pytest.approx([0, 0.5, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2])


def test_inverse_square_root_is_flat_until_the_warmup_ends():
    # T5 paper, section 3.1.2: 1/sqrt(max(n, k)) with k = 10^4, so 0.01 for the first 10^4 steps.
    schedule = schedules.inverse_square_root()
    assert float(schedule(0)) == pytest.approx(0.01)
    assert float(schedule(10_000)) == pytest.approx(0.01)
    assert float(schedule(40_000)) == pytest.approx(0.005)


def test_cosine_starts_at_the_peak_and_ends_at_a_tenth():
    # InstructGPT's SFT: no warm-up, cosine to 10 % of the peak.
    schedule = schedules.cosine(2.0, total_steps=100)
    assert float(schedule(0)) == pytest.approx(2.0)
    assert float(schedule(50)) == pytest.approx(1.1)
    assert float(schedule(25)) == pytest.approx(0.2 + 1.8 * (1 + math.cos(math.pi / 4)) / 2)
    assert float(schedule(100)) == float(schedule(1000)) == pytest.approx(0.2)


def test_cosine_after_a_warmup_falls_from_its_end():
    schedule = schedules.cosine(1.0, total_steps=12, warmup_steps=2, floor_share=0.0)
    values = [float(schedule(step)) for step in (0, 1, 2, 7, 12)]
    assert values == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-7)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: schedules.constant(0.0), "value is 0.0"),
        (lambda: schedules.linear_warmup(1.0, -1), "warmup_steps is -1"),
        (lambda: schedules.cosine(1.0, total_steps=5, warmup_steps=5), "warm-up must end before"),
        (lambda: schedules.cosine(1.0, total_steps=5, floor_share=2.0), "floor_share is 2.0"),
        (lambda: schedules.inverse_square_root(warmup_steps=0), "warmup_steps is 0"),
        (lambda: schedules.constant(float("nan")), "value is nan"),
    ],
)
def test_impossible_schedules_are_refused(make, told):
    with pytest.raises(InputError, match=told):
        make()


@pytest.mark.parametrize(
    ("product", "step", "rate"),
    [
        # By hand from T5X's definition, with a base rate of 0.5 and a warm-up of 100 steps.
        ("constant", 7, 0.5),
        ("constant * linear_warmup", 25, 0.5 * 0.25),
        ("constant * linear_warmup * rsqrt_decay", 25, 0.5 * 0.25 / 10),
        ("constant * linear_warmup * rsqrt_decay", 400, 0.5 / 20),
        ("constant * rsqrt_normalized_decay", 400, 0.5 * 10 / 20),
        ("linear_decay", 50, 0.5 * 0.5),
        ("linear_decay", 150, 0.5 * (1 - 0.01 * 50)),
        ("linear_decay", 1000, 1e-8),  # below nought, so the least
        ("constant * decay_every", 2500, 0.5 * 0.01**2),
        ("constant * cosine_decay", 100, 0.5),
        ("constant * cosine_decay", 600, 0.25),  # half of a cycle of 1,000 steps
        ("constant * cosine_decay", 1100, 0.5),  # the next cycle
    ],
)
def test_factors_are_those_of_t5x(product, step, rate):
    settings = {"warmup_steps": 100, "steps_per_decay": 1000, "steps_per_cycle": 1000}
    schedule = schedules.factors(product, decay_factor=0.01, **settings)
    assert float(schedule(step)) == pytest.approx(rate, rel=1e-5)
    later = schedules.factors(product, decay_factor=0.01, step_offset=1000, **settings)
    assert float(later(step + 1000)) == pytest.approx(rate, rel=1e-5)


def test_a_factor_that_is_none_is_told():
    with pytest.raises(InputError, match=r"no factor 'rsqrt'.*rsqrt_decay"):
        schedules.factors("constant * rsqrt")
