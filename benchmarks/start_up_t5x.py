r"""Process start to the end of the first training step: ours on a packed mixture, upstream T5X on its cache.

    python benchmarks/start_up_t5x.py --t5x_python T5X/bin/python --data_dir DATA \
      --vocabulary t5_32000.model --mixture p3_sample_train --module mixtures.p3_sample --num_examples 20000

T5X_PYTHON is a Python that can import t5x (docs/t5x_users.md); DATA has the mixture rendered, cached
and packed. Both train T5 1.1 small (`--layers` for fewer), a batch of 8 rows of 512/128, float32. Each
start is a process of its own, in turn, killed after its first step. Ours compiles at every start unless
`--compiled` keeps the compilation cache, which is its default and which T5X does not have.

T5X's step counts as done when its log says that the loop over one step has ended, which it may say
before the devices are done; ours when its loss was read. CPU seconds are the processes' own.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from side_by_side import Timings

ROOT = Path(__file__).resolve().parent.parent
LENGTHS = {"inputs": 512, "targets": 128}


@dataclasses.dataclass(frozen=True)
class Start:
    """How one side is started.

    Attributes:
        command: the process.
        done: what its screen says after the first step.
        environment: variables besides those that are there.
    """

    command: Sequence[str]
    done: str
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def run(self, timings: Timings) -> None:
        """Starts it, waits for its first step, kills it, and keeps its time."""
        started = time.perf_counter()
        process = subprocess.Popen(
            self.command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | self.environment,
        )
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if self.done in line:
                break
        else:
            process.wait()
            raise SystemExit("".join(said[-20:]))
        wall = time.perf_counter() - started
        process.kill()
        process.stderr.close()
        _, _, used = os.wait4(process.pid, 0)
        timings.wall.append(wall)
        timings.cpu.append(used.ru_utime + used.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--t5x_python", required=True, help="a Python that can import t5x")
    parser.add_argument("--data_dir", type=Path, required=True, help="rendered, cached and packed")
    parser.add_argument("--vocabulary", required=True, help="a SentencePiece model")
    parser.add_argument("--mixture", required=True)
    parser.add_argument("--module", required=True, help="the module that registers it")
    parser.add_argument("--num_examples", type=int, required=True, help="as packed")
    parser.add_argument("--layers", type=int, default=8, help="of each stack")
    parser.add_argument("--compiled", action="store_true", help="ours keeps its compilation cache")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    ours, peer = Timings(), Timings()
    with tempfile.TemporaryDirectory() as folder:
        if options.compiled:
            our_start(options, Path(folder), "first").run(Timings())
        for number in range(options.repetitions):
            for who, timings, start in (("ours", ours, our_start), ("T5X", peer, t5x_start)):
                start(options, Path(folder), str(number)).run(timings)
                print(f"{who}: {timings.wall[-1]:.1f} s, {timings.cpu[-1]:.1f} CPU-s", flush=True)
    print(f"ours {ours}")
    print(f"T5X  {peer}")
    wall = np.median(peer.wall) / np.median(ours.wall)
    cpu = np.median(peer.cpu) / np.median(ours.cpu)
    print(f"ratio {wall:.2f} of wall medians, {cpu:.2f} of CPU medians; n = {options.repetitions}")


def our_start(options: argparse.Namespace, folder: Path, number: str) -> Start:
    """`instrux train` from random parameters; the compilation cache is empty unless it is kept."""
    bindings = {
        "MIXTURE_OR_TASK_NAME": options.mixture,
        "TASK_FEATURE_LENGTHS": LENGTHS,
        "VOCABULARY": options.vocabulary,
        "NUM_EXAMPLES": options.num_examples,
        "DATA_DIR": str(options.data_dir),
        "MODEL_DIR": str(folder / f"ours-{number}"),
        "INITIAL_CHECKPOINT_PATH": None,
        "BATCH_SIZE": 8,
        "TRAIN_STEPS": 2,
        "t5.T5Config.num_encoder_layers": options.layers,
        "t5.T5Config.num_decoder_layers": options.layers,
    }
    files = ["--gin_file", "runs/finetune.gin", "--gin_file", "models/t5_1_1_small.gin"]
    command = [sys.executable, "-m", "launch.cli", "train", *files, *_bound(bindings)]
    cache = folder / ("cache" if options.compiled else f"cache-{number}")
    return Start(command, "ready after", {"INSTRUX_CACHE": str(cache), "PYTHONPATH": str(ROOT)})


def t5x_start(options: argparse.Namespace, folder: Path, number: str) -> Start:
    """T5X with `gin/t5x/finetune.gin`, from random parameters."""
    bindings = {
        "MIXTURE_OR_TASK_NAME": options.mixture,
        "MIXTURE_OR_TASK_MODULE": options.module,
        "TASK_FEATURE_LENGTHS": LENGTHS,
        "VOCABULARY_FILE": options.vocabulary,
        "MODEL_DIR": str(folder / f"t5x-{number}"),
        "BATCH_SIZE": 8,
        "TRAIN_STEPS": 1,
        "network.T5Config.num_encoder_layers": options.layers,
        "network.T5Config.num_decoder_layers": options.layers,
    }
    files = [f"--gin_search_paths={ROOT / 'gin'}", "--gin_file=t5x/finetune.gin"]
    cache = f"--seqio_additional_cache_dirs={options.data_dir / 'cache'}"
    command = [options.t5x_python, "-m", "t5x.train", *files, cache, *_bound(bindings)]
    environment = {"PYTHONPATH": str(ROOT), "INSTRUX_VOCABULARY": options.vocabulary}
    return Start(command, "END Train loop", environment)


def _bound(bindings: Mapping[str, object]) -> list[str]:
    return [f"--gin.{name}={value!r}" for name, value in bindings.items()]


if __name__ == "__main__":
    main()
