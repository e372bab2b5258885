import dataclasses
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from instrux.data.packed_rows import model_features
from instrux.errors import InputError
from instrux.models.t5 import T5
from instrux.training.freezing import Freezing, parameter_names
from instrux.training.mesh import MeshShape, make_mesh
from instrux.training.optimizers import AdamW
from instrux.training.program import Program
from instrux.training.schedules import constant
from instrux.training.train_step import StepSettings

TREE = {"encoder": {"query": {"kernel": 1, "bias": 2}}, "decoder": {"query": {"kernel": 3}}}


def test_a_name_must_match_from_start_to_end():
    assert parameter_names(TREE) == [
        "encoder/query/kernel",
        "encoder/query/bias",
        "decoder/query/kernel",
    ]
    assert Freezing(("decoder/.*",)).trained(TREE) == {"decoder": {"query": {"kernel": 3}}}
    assert Freezing(("decoder",)).trained(TREE) == {}
    assert Freezing.of(frozen=".*/kernel").trained(TREE) == {"encoder": {"query": {"bias": 2}}}
    both = Freezing.of("encoder/.*", [".*/bias"])
    assert both.trained(TREE) == {"encoder": {"query": {"kernel": 1}}}


def test_joining_puts_back_what_was_taken_out():
    freezing = Freezing((".*/kernel",))
    changed = {"encoder": {"query": {"kernel": 10}}, "decoder": {"query": {"kernel": 30}}}
    assert freezing.joined(freezing.trained(TREE), TREE) == TREE
    assert freezing.joined(changed, TREE) == {
        "encoder": {"query": {"kernel": 10, "bias": 2}},
        "decoder": {"query": {"kernel": 30}},
    }


@pytest.mark.parametrize(
    ("freezing", "told"),
    [
        (Freezing(("decoder",)), r"'decoder' matches no parameter .* such as encoder/query/kernel"),
        (Freezing(None, ("lora",)), "'lora' matches no parameter"),
        (Freezing(None, (".*",)), "every parameter is frozen"),
    ],
)
def test_what_fits_no_parameter_is_told(freezing, told):
    with pytest.raises(InputError, match=told):
        freezing.check(TREE)


def test_what_is_no_regular_expression_is_told():
    with pytest.raises(InputError, match=r"'\*/kernel' is no regular expression"):
        Freezing.of("*/kernel")


def test_frozen_parameters_stay_as_they_are_and_have_no_optimiser_state():
    spec = importlib.util.spec_from_file_location(
        "tiny_run", Path(__file__).with_name("tiny_run.py")
    )
    tiny_run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny_run)
    model = T5(dataclasses.replace(tiny_run.CONFIG, num_encoder_layers=1, num_decoder_layers=1))
    freezing = Freezing.of("decoder/.*", ".*/scale")
    trained_axes = freezing.trained(model.logical_axes())
    program = Program(
        model,
        AdamW(weight_decay=0.1).build(constant(0.1), trained_axes),
        constant(0.1),
        mesh=make_mesh(MeshShape(), jax.devices()[:1]),
        batch_size=8,
        settings=StepSettings(freezing=freezing),
        seed=0,
    )
    state = program.init()
    before = jax.device_get(state.params)
    assert len(jax.tree.leaves(state.optimizer_state)) == 2 * len(parameter_names(trained_axes)) + 2
    after, metrics = program.step(state, model_features(tiny_run.packed_rows()[:8]))
    moved = jax.tree.map(lambda one, two: bool(np.any(one != two)), before, dict(after.params))
    names = dict(zip(parameter_names(before), jax.tree.leaves(moved), strict=True))
    assert {name: freezing.trains(name) for name in names} == names
    assert 0 < sum(names.values()) < len(names)
    assert float(metrics.finite) == 1.0
