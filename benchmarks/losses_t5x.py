r"""Losses of upstream T5X and ours on the same batches, from one checkpoint that we wrote.

    python benchmarks/losses_t5x.py --t5x_python T5X/bin/python --data_dir DATA \
      --vocabulary t5_32000.model --task cos_e_v1.11_generate_explanation_given_text \
      --module mixtures.p3_sample

T5X_PYTHON is a Python that can import t5x (docs/t5x_users.md); DATA has the task cached. T5X trains
some steps of a small model without dropout by `gin/t5x/finetune_from_checkpoint.gin`; its batches and
losses are kept, and our model and Adafactor make the same steps. Ends with status 1 where the losses
are further apart than `--tolerance` of a loss.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from instrux.interop.parameters import Weights, flatten
from instrux.interop.t5x import write_checkpoint
from instrux.models.t5 import T5, Params, T5Config
from instrux.training.optimizers import Adafactor
from instrux.training.schedules import constant
from instrux.training.train_step import StepSettings, fresh_state, make_train_step

ROOT = Path(__file__).resolve().parent.parent
STEP, RATE = 2, 1e-3
CONFIG = T5Config(
    vocab_size=32128,
    emb_dim=128,
    num_heads=4,
    head_dim=32,
    mlp_dim=256,
    num_encoder_layers=2,
    num_decoder_layers=2,
    dropout_rate=0.0,
)
# Runs in T5X's Python: t5x.train as it is, but for a compiled step that keeps what goes through it.
RECORDER = """
import json, runpy, sys
import jax, numpy as np
from t5x import trainer
folder, compiling = sys.argv.pop(1), trainer.BaseTrainer.compile_train
def compile_train(self, batch):
    compiling(self, batch)
    step, losses = self._compiled_train_step, []
    def kept(state, batch):
        np.savez(f"{folder}/{len(losses)}.npz", **{k: np.asarray(v) for k, v in batch.items()})
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"].total))
        with open(f"{folder}/losses.json", "w") as file:
            json.dump(losses, file)
        return state, metrics
    self._compiled_train_step = kept
trainer.BaseTrainer.compile_train = compile_train
runpy.run_module("t5x.train", run_name="__main__", alter_sys=True)
"""


class InMemory(Weights):
    """A model's parameters, as `write_checkpoint` reads them."""

    def __init__(self, params: Params) -> None:
        self.path, self.config, self.step = Path("memory"), CONFIG, STEP
        self._arrays = dict(flatten(params))

    def read(self, name: str, layer: int | None) -> np.ndarray:
        """Gives one parameter, or one layer of a stacked one."""
        array = np.asarray(self._arrays[name])
        return array if layer is None else array[layer]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--t5x_python", required=True, help="a Python that can import t5x")
    parser.add_argument("--data_dir", type=Path, required=True, help="with cache/")
    parser.add_argument("--vocabulary", required=True, help="the one that was cached with")
    parser.add_argument("--task", required=True, help="a cached task or mixture")
    parser.add_argument("--module", required=True, help="the module that registers it")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    options = parser.parse_args()
    params = jax.jit(T5(CONFIG).init)(jax.random.key(0))
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), InMemory(params))
        theirs = t5x_losses(options, Path(folder))
        ours = our_losses(params, [dict(np.load(f"{folder}/{n}.npz")) for n in range(len(theirs))])
    apart = [abs(one - other) / other for one, other in zip(ours, theirs, strict=True)]
    for number, values in enumerate(zip(ours, theirs, apart, strict=True)):
        print("step {}: ours {:.7f}, T5X {:.7f}, apart {:.1e}".format(number, *values))
    sys.exit(int(max(apart) > options.tolerance))


def t5x_losses(options: argparse.Namespace, folder: Path) -> list[float]:
    """Trains with T5X, and gives the loss a token of each step; batches lie in the folder then."""
    bindings = {
        "INITIAL_CHECKPOINT_PATH": str(folder / f"checkpoint_{STEP}"),
        "MIXTURE_OR_TASK_NAME": options.task,
        "MIXTURE_OR_TASK_MODULE": options.module,
        "VOCABULARY_FILE": options.vocabulary,
        "MODEL_DIR": str(folder / "t5x"),
        "TASK_FEATURE_LENGTHS": {"inputs": 512, "targets": 128},
        "BATCH_SIZE": 8,
        "TRAIN_STEPS": STEP + options.steps,
        "DROPOUT_RATE": 0.0,
        "adafactor.Adafactor.step_offset": STEP,
        "network.T5Config.emb_dim": CONFIG.emb_dim,
        "network.T5Config.num_heads": CONFIG.num_heads,
        "network.T5Config.head_dim": CONFIG.head_dim,
        "network.T5Config.mlp_dim": CONFIG.mlp_dim,
        "network.T5Config.num_encoder_layers": CONFIG.num_encoder_layers,
        "network.T5Config.num_decoder_layers": CONFIG.num_decoder_layers,
    }
    subprocess.run(
        [
            *(options.t5x_python, "-c", RECORDER, str(folder)),
            *(f"--gin_search_paths={ROOT / 'gin'}", "--gin_file=t5x/finetune_from_checkpoint.gin"),
            f"--seqio_additional_cache_dirs={options.data_dir / 'cache'}",
            *(f"--gin.{name}={value!r}" for name, value in bindings.items()),
        ],
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "INSTRUX_VOCABULARY": options.vocabulary},
    )
    totals = json.loads((folder / "losses.json").read_text())
    tokens = [
        int((np.load(folder / f"{n}.npz")["decoder_loss_weights"] > 0).sum())
        for n in range(len(totals))
    ]
    return [total / number for total, number in zip(totals, tokens, strict=True)]


def our_losses(params: Params, batches: list[dict[str, np.ndarray]]) -> list[float]:
    """Makes the same steps, and gives the loss a token of each."""
    model = T5(CONFIG)
    optimizer = Adafactor().build(constant(RATE), model.logical_axes())
    state = fresh_state(params, optimizer, jax.random.key(1))
    step = jax.jit(make_train_step(model, optimizer, constant(RATE), StepSettings(z_loss=0.0)))
    losses = []
    for batch in batches:
        state, metrics = step(state, {name: jnp.asarray(array) for name, array in batch.items()})
        losses.append(float(metrics.loss))
    return losses


if __name__ == "__main__":
    main()
