"""The table of memory, on a model small enough to count by hand."""

import importlib.util
from pathlib import Path

import pytest

from instrux.models.t5 import T5Config


@pytest.fixture(scope="module")
def table():
    path = Path(__file__).parents[2] / "benchmarks" / "memory_table.py"
    spec = importlib.util.spec_from_file_location("memory_table", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_takes_the_place_of_the_one_of_its_model_and_machine(table, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n| 3B | v5e-256 | old |\n| 3B | v5p-64 | old |\n")
    table.write_row(page, "| 3B | v5p-64 | new |")
    assert page.read_text() == "text\n| 3B | v5e-256 | old |\n| 3B | v5p-64 | new |\n"
    with pytest.raises(ValueError, match="0 rows of 11B on v5p-64"):
        table.write_row(page, "| 11B | v5p-64 | new |")


def test_state_is_the_sum_of_its_arrays_and_a_step_needs_more(table):
    config = T5Config(
        vocab_size=50,
        emb_dim=8,
        num_heads=2,
        head_dim=4,
        mlp_dim=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
        remat="full",
    )

    memory = table.measure(config, (1, 1, 1), rows=2, lengths=(64, 8), microbatches=1)
    embeddings = 50 * 8 + 8 * 50
    biases, norms = 2 * 2 * 32, (2 + 3 + 2) * 8
    attention, mlp = 4 * 8 * 8, 3 * 8 * 16
    kernels = {attention: 3, mlp: 2}
    parameters = embeddings + biases + norms + sum(size * n for size, n in kernels.items())
    # Adafactor: in stacked layers 12 attention kernels of 8 + 8 means and 6 of 8 + 16; everything
    # else in full (no unstacked axis has 128 entries), and a [1] in place of what a parameter lacks.
    means = 12 * (8 + 8) + 6 * (8 + 16)
    stacked = 12 + 6
    others = 2 + 2 + 7  # embeddings, biases, norms: each keeps v and two [1]
    moments = means + stacked + embeddings + biases + norms + 2 * others
    step, count, key = 1, 1, 2
    expected = 4 * (parameters + moments + step + count + key)
    assert memory.state == expected
    # At least a float32 gradient of every parameter and the scanned inputs of both stacks.
    assert memory.temporary > 4 * (parameters + 2 * 8 * (64 + 8))
