"""What each of two processes with four simulated devices does; test_two_processes.py runs both.

    python on_two_processes.py FOLDER

FOLDER has `data/` (a packed set and a rendered task) and a run `one_to_two` of one process at step
3. A signal to the second process stops the run `two_to_one`; then it kills itself in `one_to_two`.
What both saw is one line of JSON each, `told.N.json`.
"""

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

import jax

from instrux.training import processes
from instrux.training.mesh import MeshShape
from instrux.training.optimizers import AdamW
from instrux.training.program import Program
from instrux.training.step_log import StepLog
from launch import entry
from launch.evaluate import evaluate

_SPEC = importlib.util.spec_from_file_location("tiny_run", Path(__file__).with_name("tiny_run.py"))
tiny_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny_run)


SHOW = StepLog.show


def main(arguments):
    folder = Path(arguments[0])
    shares = {}
    remember_shares(shares)
    processes.join_cluster(heartbeat_seconds=20)
    at_step(4, lambda: jax.process_index() == 1 and os.kill(os.getpid(), signal.SIGTERM))
    told = {"status": train(folder / "two_to_one"), "shares": [dict(shares)]}
    results = evaluate(
        model_dir=str(folder / "two_to_one"),
        data_dir=str(folder / "data"),
        tasks=["*"],
        batch_size=8,
        name="by_two",
        compile_cache=str(folder / "data" / "jax"),
        distributed=True,
    ).results
    told["scores"] = [task.score for task in results.tasks]
    at_step(8, lambda: tell_and_die(folder, told | {"shares": [*told["shares"], dict(shares)]}))
    train(
        folder / "one_to_two",
        mesh=MeshShape(data=1, fsdp=4, tensor=2),
        checkpoint_every_steps=6,
    )


def train(model_dir, **settings):
    """The status that the run ended with."""
    try:
        tiny_run.train_tiny(
            model_dir,
            model_dir.parent / "data",
            model=tiny_run.SMALLEST,
            optimizer=AdamW(),
            train_steps=1000,
            distributed=True,
            **settings,
        )
    except SystemExit as end:
        return end.code
    return 0


def tell_and_die(folder, told):
    (folder / f"told.{jax.process_index()}.json").write_text(json.dumps(told))
    if jax.process_index() == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def remember_shares(shares):
    made = Program.__init__

    def init(program, *arguments, **settings):
        made(program, *arguments, **settings)
        shares.update(index=program.share.index, count=program.share.count)

    Program.__init__ = init


def at_step(step, act):
    """Has a process act once the loop has read so many steps."""

    def and_act(log, number, loss):
        SHOW(log, number, loss)
        if number == step:
            act()

    StepLog.show = and_act


if __name__ == "__main__":
    sys.exit(entry.guarded(main, sys.argv[1:]))
