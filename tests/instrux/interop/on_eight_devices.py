"""Loads a folder onto a mesh of eight simulated devices; run by test_sharded_load.py.

python on_eight_devices.py HUGGING_FACE_FOLDER
"""

import os
import sys

os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
)
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np

from instrux.interop.huggingface import HuggingFaceFolder
from instrux.interop.parameters import flatten, load, parameters
from instrux.models.t5 import T5
from instrux.training.mesh import MeshShape, make_mesh, parameter_shardings

weights = HuggingFaceFolder(sys.argv[1])
model = T5(weights.config)
shapes = jax.eval_shape(model.init, jax.random.key(0))
mesh = make_mesh(MeshShape(data=2, fsdp=2, tensor=2))
abstract = jax.tree.map(
    lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
    shapes,
    parameter_shardings(mesh, model.logical_axes(), shapes),
)
loaded = dict(flatten(load(weights, abstract)))
for parameter in parameters(weights.config):
    array = loaded[parameter.name]
    layers = [weights.read(parameter.name, layer) for layer in parameter.layers]
    expected = layers[0] if parameter.num_layers is None else np.stack(layers)
    np.testing.assert_array_equal(np.asarray(array), expected)
kernel = loaded["decoder.layers.mlp.wi_0.kernel"]
print(kernel.shape, kernel.addressable_shards[0].data.shape, len(kernel.addressable_shards))
