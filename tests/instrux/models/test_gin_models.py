from pathlib import Path

import gin
import jax
import pytest

from instrux.models import families

FOLDER = Path(__file__).parents[3] / "gin" / "models"


@pytest.fixture(autouse=True)
def clear_gin():
    gin.clear_config()
    yield
    gin.clear_config()


def configured(name):
    gin.clear_config()
    gin.parse_config_file(str(FOLDER / f"{name}.gin"))
    return gin.query_parameter("%MODEL").scoped_configurable_fn()


SIZES = sorted(set(FOLDER.glob("*.gin")) - {FOLDER / "of_checkpoint.gin"})


@pytest.mark.parametrize("path", SIZES, ids=lambda path: path.stem)
def test_every_model_file_gives_a_model(path):
    config = configured(path.stem)
    jax.eval_shape(families.model_of(config).init, jax.random.key(0))


# Widths, heads, width of a head, MLP, layers of encoder and decoder. Where they stand: T5 1.0, 1.1, mT5
# and ByT5 in T5X (cc342d4), t5x/examples/t5/; UL2 in the config.json of google/ul2; GPT-2 in table 2
# of Radford et al. 2019; GPT-3 in table 2.1 of arXiv 2005.14165, but 13B is 5120 wide, as 40 heads of
# 128 make, and XL has 16 heads. Counts: as Hugging Face has them for the released checkpoints.
@pytest.mark.parametrize(
    ("name", "sizes", "count"),
    [
        ("t5_1_0_small", (512, 8, 64, 2048, 6, 6), 60_506_624),
        ("t5_1_0_base", (768, 12, 64, 3072, 12, 12), 222_903_552),
        ("t5_1_0_large", (1024, 16, 64, 4096, 24, 24), 737_668_096),
        ("t5_1_0_3b", (1024, 32, 128, 16384, 24, 24), 2_851_598_336),
        ("t5_1_0_11b", (1024, 128, 128, 65536, 24, 24), 11_307_321_344),
        ("t5_1_1_small", (512, 6, 64, 1024, 8, 8), 76_961_152),
        ("t5_1_1_base", (768, 12, 64, 2048, 12, 12), 247_577_856),
        ("t5_1_1_large", (1024, 16, 64, 2816, 24, 24), 783_150_080),
        ("t5_1_1_xl", (2048, 32, 64, 5120, 24, 24), 2_849_757_184),
        ("t5_1_1_xxl", (4096, 64, 64, 10240, 24, 24), 11_135_332_352),
        ("mt5_small", (512, 6, 64, 1024, 8, 8), 300_176_768),
        ("mt5_base", (768, 12, 64, 2048, 12, 12), 582_401_280),
        ("mt5_large", (1024, 16, 64, 2816, 24, 24), 1_229_581_312),
        ("mt5_xl", (2048, 32, 64, 5120, 24, 24), 3_742_619_648),
        # umT5: mT5's by hand, with 6,272 rows more in both tables and a table of positions a layer.
        ("umt5_small", (512, 6, 64, 1024, 8, 8), 306_601_984),
        ("umt5_base", (768, 12, 64, 2048, 12, 12), 592_043_520),
        ("umt5_xl", (2048, 32, 64, 5120, 24, 24), 3_768_356_864),
        ("byt5_small", (1472, 6, 64, 3584, 12, 4), 299_637_760),
        ("byt5_base", (1536, 12, 64, 3968, 18, 6), 581_653_248),
    ],
)
def test_sizes_are_the_released_ones(name, sizes, count):
    config = configured(name)
    assert sizes_of(config) == sizes
    assert count_of(config) == count


def sizes_of(config):
    return (
        config.emb_dim,
        config.num_heads,
        config.head_dim,
        config.mlp_dim,
        config.num_encoder_layers,
        config.num_decoder_layers,
    )


def count_of(config):
    shapes = jax.eval_shape(families.model_of(config).init, jax.random.key(0))
    return sum(array.size for array in jax.tree.leaves(shapes))


# Their papers round: table 1 of arXiv 2010.11934, table 1 of arXiv 2105.13626, arXiv 2205.05131.
@pytest.mark.parametrize(
    ("name", "sizes", "billions"),
    [
        ("mt5_xxl", (4096, 64, 64, 10240, 24, 24), 12.9),
        ("byt5_large", (1536, 16, 64, 3840, 36, 12), 1.23),
        ("byt5_xl", (2560, 32, 64, 6720, 36, 12), 3.74),
        ("byt5_xxl", (4672, 64, 64, 12352, 36, 12), 12.9),
        ("ul2_20b", (4096, 16, 256, 16384, 32, 32), 19.5),
    ],
)
def test_large_sizes_are_their_papers(name, sizes, billions):
    config = configured(name)
    assert sizes_of(config) == sizes
    assert count_of(config) == pytest.approx(billions * 1e9, rel=0.005)


def test_families_have_their_own_activations_and_heads():
    told = {
        name: (config.vocab_size, config.mlp_activations, config.logits_via_embedding)
        for name in ("t5_1_0_3b", "t5_1_1_xl", "mt5_xl", "umt5_xl", "byt5_xl", "ul2_20b")
        for config in [configured(name)]
    }
    assert told == {
        "t5_1_0_3b": (32128, ("relu",), True),
        "t5_1_1_xl": (32128, ("gelu", "linear"), False),
        "mt5_xl": (250112, ("gelu", "linear"), False),
        "umt5_xl": (256384, ("gelu", "linear"), False),
        "byt5_xl": (384, ("gelu", "linear"), False),
        "ul2_20b": (32128, ("silu", "linear"), True),
    }


# GPT-2: what transformers counts in the released gpt2, gpt2-medium, gpt2-large and gpt2-xl. GPT-3: what
# its table says in words, of models whose vocabulary and positions are about these.
@pytest.mark.parametrize(
    ("name", "sizes", "count"),
    [
        ("gpt2_small", (768, 12, 12), 124_439_808),
        ("gpt2_medium", (1024, 16, 24), 354_823_168),
        ("gpt2_large", (1280, 20, 36), 774_030_080),
        ("gpt2_xl", (1600, 25, 48), 1_557_611_200),
        ("gpt_125m", (768, 12, 12), 125e6),
        ("gpt_350m", (1024, 16, 24), 350e6),
        ("gpt_760m", (1536, 16, 24), 760e6),
        ("gpt_1_3b", (2048, 16, 24), 1.3e9),
        ("gpt_2_7b", (2560, 32, 32), 2.7e9),
        ("gpt_6_7b", (4096, 32, 32), 6.7e9),
        ("gpt_13b", (5120, 40, 40), 13e9),
        ("gpt_175b", (12288, 96, 96), 175e9),
    ],
)
def test_decoder_only_sizes_are_gpt_2s_and_gpt_3s(name, sizes, count):
    config = configured(name)
    assert (config.emb_dim, config.num_heads, config.num_layers) == sizes
    assert config.num_heads * config.head_dim == config.emb_dim
    assert config.mlp_dim == 4 * config.emb_dim
    assert count_of(config) == (count if isinstance(count, int) else pytest.approx(count, rel=0.02))
