"""Trains two steps on meshes of eight simulated devices; test_mesh.py runs it and compares.

Prints one line of JSON: for every mesh its losses, how far its first gradient and its parameters
are from one device's (norm of the difference over the norm), and the share of the embedding table
that a device holds. `pallas` is the first gradient alone, with attention by the kernel, interpreted.
"""

import dataclasses
import importlib.util
import json
from pathlib import Path

import jax
import numpy as np

from instrux.data.packed_rows import model_features
from instrux.models.t5 import T5
from instrux.training.mesh import MeshShape, activate, make_mesh
from instrux.training.optimizers import Adafactor
from instrux.training.program import Program
from instrux.training.schedules import constant
from instrux.training.train_step import StepSettings, loss_and_gradients

_SPEC = importlib.util.spec_from_file_location("tiny_run", Path(__file__).with_name("tiny_run.py"))
tiny_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny_run)

MODEL = T5(tiny_run.SMALLEST)
KERNEL = T5(dataclasses.replace(tiny_run.SMALLEST, attention="pallas"))
BATCH_SIZE = 16
SETTINGS = StepSettings(microbatches=2)
MESHES = [(8, 1, 1), (1, 8, 1), (1, 1, 8), (2, 2, 2)]


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(jax.device_get(tree))])


def train(sizes):
    devices = jax.devices()[: int(np.prod(sizes))]
    mesh = make_mesh(MeshShape(*sizes), devices)
    optimizer = Adafactor().build(constant(0.01), MODEL.logical_axes())
    program = Program(
        MODEL,
        optimizer,
        constant(0.01),
        mesh=mesh,
        batch_size=BATCH_SIZE,
        settings=SETTINGS,
        seed=0,
    )
    batch = model_features(tiny_run.packed_rows()[:BATCH_SIZE])
    state, losses = program.init(), []
    placed = state.params, program._place(batch)
    gradients = gradients_on(mesh, MODEL, *placed)
    by_kernel = gradients_on(mesh, KERNEL, *placed) if sizes == (2, 2, 2) else None
    for _ in range(2):
        state, metrics = program.step(state, batch)
        losses.append(float(metrics.loss))
    table = state.params["token_embedder"]["embedding"]
    share = table.addressable_shards[0].data.size / table.size
    return losses, gradients, flat(state.params), share, by_kernel


def gradients_on(mesh, model, params, batch):
    def gradients(params, batch):
        settings = StepSettings()
        return loss_and_gradients(model, params, batch, settings=settings, key=jax.random.key(1))[0]

    with activate(mesh):
        return flat(jax.jit(gradients)(params, batch))


def distance(one, other):
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


if __name__ == "__main__":
    losses, gradients, params, *_ = train((1, 1, 1))
    runs = {"1x1x1": {"losses": losses}}
    for sizes in MESHES:
        ours, our_gradients, our_params, share, by_kernel = train(sizes)
        runs["x".join(map(str, sizes))] = {
            "losses": ours,
            "gradient_error": distance(our_gradients, gradients),
            "parameter_error": distance(our_params, params),
            "embedding_share": share,
        }
        if by_kernel is not None:
            runs["pallas"] = {"gradient_error": distance(by_kernel, gradients)}
    print(json.dumps(runs))
