import jax
import pytest

from instrux.models.t5 import T5Config
from instrux.training.flops import peak_flops_per_second, t5_flops


def t5_1_1(emb_dim, heads, mlp_dim, layers):
    return T5Config(
        vocab_size=32128,
        emb_dim=emb_dim,
        num_heads=heads,
        head_dim=64,
        mlp_dim=mlp_dim,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
    )


# TFLOP a sequence that published T5X and Rosetta throughputs were reduced with: 512 inputs and 114
# targets, matrix products only, backward = 2x forward, full attention square.
@pytest.mark.parametrize(
    ("config", "tflop"),
    [
        (t5_1_1(512, 6, 1024, 8), 0.106),
        (t5_1_1(768, 12, 2048, 12), 0.426),
        (t5_1_1(1024, 16, 2816, 24), 1.468),
        (t5_1_1(2048, 32, 5120, 24), 5.346),
        (t5_1_1(4096, 64, 10240, 24), 20.9),
    ],
)
def test_published_sizes_cost_what_is_known(config, tflop):
    flops = t5_flops(config, inputs_length=512, targets_length=114)
    assert flops.total(512, 114) / 1e12 == pytest.approx(tflop, rel=3e-3)


def test_padding_is_no_work():
    flops = t5_flops(t5_1_1(512, 6, 1024, 8), inputs_length=512, targets_length=114)
    assert flops.total(256, 57) == flops.total(512, 114) / 2


def test_a_cpu_is_measured():
    peak = peak_flops_per_second(jax.devices("cpu")[0])
    assert peak is not None and 1e8 < peak < 1e14
