import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from instrux.errors import InputError
from instrux.training import mesh as meshes
from instrux.training.mesh import MeshShape, partition_spec

ON_EIGHT_DEVICES = Path(__file__).with_name("on_eight_devices.py")


@pytest.mark.parametrize(
    ("shape", "devices", "sizes"),
    [
        (MeshShape(), 8, (8, 1, 1)),
        (MeshShape(data=2, fsdp=-1, tensor=2), 8, (2, 2, 2)),
        (MeshShape(data=1, tensor=-1), 1, (1, 1, 1)),
        (MeshShape(data=1, fsdp=4, tensor=2), 8, (1, 4, 2)),
    ],
)
def test_minus_one_takes_what_is_left(shape, devices, sizes):
    assert shape.resolve(devices) == sizes


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (MeshShape(tensor=3), "axis 'data' cannot take the rest: 8 devices do not divide by 3"),
        (MeshShape(data=2, tensor=2), "needs 4 devices and there are 8"),
        (MeshShape(data=-1, fsdp=-1), r"axes \['data', 'fsdp'\] are all -1"),
        (MeshShape(fsdp=0), "axis 'fsdp' has size 0"),
    ],
)
def test_sizes_that_do_not_fit_are_told_with_axis_and_devices(shape, told):
    with pytest.raises(InputError, match=told):
        shape.resolve(8)


def test_rules_split_parameters_and_activations():
    assert partition_spec(("layers", "embed", "mlp")) == PartitionSpec(None, "fsdp", "tensor")
    assert partition_spec(("vocab", "embed")) == PartitionSpec("tensor", "fsdp")
    # The batch takes fsdp, so an activation's embed stays whole.
    activation = partition_spec(("batch", "length", "embed"))
    assert activation == PartitionSpec(("data", "fsdp"), None, None)


def test_an_axis_without_a_rule_is_told():
    with pytest.raises(InputError, match="no rule for the logical axis 'experts'"):
        partition_spec(("experts", "embed"))


def abstract_mesh(**sizes):
    return jax.sharding.AbstractMesh(tuple(sizes.values()), tuple(sizes))


def test_a_parameter_that_does_not_divide_is_told():
    mesh = abstract_mesh(data=1, fsdp=1, tensor=4)
    with pytest.raises(
        InputError, match=r"'tensor' has size 4.*'mlp' = 6 of the parameter wi/kernel"
    ):
        meshes.parameter_shardings(
            mesh, {"wi": {"kernel": ("embed", "mlp")}}, {"wi": {"kernel": np.zeros((8, 6))}}
        )


def test_a_batch_that_does_not_divide_is_told():
    mesh = abstract_mesh(data=2, fsdp=2, tensor=1)
    meshes.check_batch_size(mesh, 16, 4)
    with pytest.raises(
        InputError, match=r"batch_size is 24; it must be a multiple of 16 \(4 micro"
    ):
        meshes.check_batch_size(mesh, 24, 4)


def test_one_process_reads_every_row():
    mesh = Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), meshes.AXES)
    assert meshes.host_share(mesh, 8) == (0, 1)


@pytest.mark.slow
def test_every_axis_gives_the_numbers_of_one_device():
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    }
    done = subprocess.run(
        [sys.executable, str(ON_EIGHT_DEVICES)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    runs = json.loads(done.stdout.splitlines()[-1])
    reference, by_kernel = runs.pop("1x1x1"), runs.pop("pallas")
    assert by_kernel["gradient_error"] < 1e-5  # each device with its own rows and heads
    assert set(runs) == {"8x1x1", "1x8x1", "1x1x8", "2x2x2"}
    for name, run in runs.items():
        np.testing.assert_allclose(run["losses"], reference["losses"], rtol=1e-5, err_msg=name)
        assert run["gradient_error"] < 1e-5, name
        assert run["parameter_error"] < 1e-5, name
    # The state really is split: a device holds an eighth of what can be split.
    assert runs["1x8x1"]["embedding_share"] == runs["1x1x8"]["embedding_share"] == 1 / 8
    assert runs["2x2x2"]["embedding_share"] == 1 / 4
    assert runs["8x1x1"]["embedding_share"] == 1.0
