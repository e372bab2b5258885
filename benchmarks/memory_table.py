"""Bytes per device of a training step on pods and GPU nodes, by compiling it and running nothing.

    python benchmarks/memory_table.py                             # all rows, as Markdown
    python benchmarks/memory_table.py --model 't5_1_1_xxl' --machine '8 x H100'
    python benchmarks/memory_table.py --page docs/performance.md  # and into the page's table

The step is the one that `train` runs: scanned layers, full rematerialisation, bfloat16 products,
Adafactor, donated state, partitioned over as many simulated CPU devices as the machine has. State
is exact. Temporaries are those of XLA's CPU compiler with the plain attention, which holds the
logits of attention and keeps float32 copies that compilers for TPUs and GPUs do not: a bound from
above, and not a measurement of those devices.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODELS = {"t5_1_1_xl": "3B (T5 1.1 XL)", "t5_1_1_xxl": "11B (T5 1.1 XXL)", "ul2_20b": "20B (UL2)"}
BATCH_TOKENS, INPUTS, TARGETS = 2**20, 1024, 256  # the batch of T0 (section 5) and of T5X's recipes


@dataclass(frozen=True)
class Machine:
    """Devices as JAX sees them.

    Attributes:
        devices: their number. A v5p-64 slice has 64 TensorCores on 32 chips, a device each chip.
        memory: of one, in GB (10^9 bytes), from the maker's data sheet.
        mesh: sizes of data, fsdp and tensor.
        rows: rows of a microbatch on each device.
    """

    devices: int
    memory: int
    mesh: tuple[int, int, int]
    rows: int


MACHINES = {
    "v5e-256": Machine(256, 16, (1, 256, 1), 1),
    "v5p-64": Machine(32, 95, (1, 32, 1), 4),
    "8 x H100": Machine(8, 80, (1, 8, 1), 2),
    "16 x H100": Machine(16, 80, (1, 16, 1), 4),
}


@dataclass(frozen=True)
class Memory:
    """Bytes of one device.

    Attributes:
        state: parameters, optimiser state, step and key, which the step updates in place.
        temporary: gradients, activations and whatever else lives only within a step.
    """

    state: int
    temporary: int

    @property
    def total(self) -> int:
        """The most that is held at once."""
        return self.state + self.temporary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, help="one model; all")
    parser.add_argument("--machine", choices=MACHINES, help="one machine; all")
    parser.add_argument("--page", type=Path, help="a page whose rows of the same name are replaced")
    options = parser.parse_args()
    machines = [options.machine] if options.machine else list(MACHINES)
    simulate(max(MACHINES[name].devices for name in machines))
    print("| model | machine | data x fsdp x tensor | microbatches | state | temporary | of |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for model in [options.model] if options.model else MODELS:
        for name in machines:
            made = row(model, name, MACHINES[name])
            print(made, flush=True)
            if options.page is not None:
                write_row(options.page, made)


def write_row(page: Path, made: str) -> None:
    """Puts a row in the place of the one with the same model and machine.

    Raises:
        ValueError: the page has none, or several.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    found = [number for number, line in enumerate(lines) if _names(line) == _names(made)]
    if len(found) != 1:
        raise ValueError(f"{page}: {len(found)} rows of {' on '.join(_names(made))}")
    lines[found[0]] = made
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _names(row: str) -> list[str]:
    return [cell.strip() for cell in row.split("|")[1:3]]


def simulate(devices: int) -> None:
    """Makes JAX see so many CPU devices, and compile for size and not for speed."""
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    os.environ["JAX_PLATFORMS"] = "cpu"


def row(model: str, name: str, machine: Machine) -> str:
    """One row of the table."""
    rows = BATCH_TOKENS // INPUTS
    microbatches = rows // (machine.rows * machine.mesh[0] * machine.mesh[1])
    memory = measure(
        configuration(model),
        machine.mesh,
        rows=rows,
        lengths=(INPUTS, TARGETS),
        microbatches=microbatches,
    )
    mesh = " x ".join(map(str, machine.mesh))
    fits = "" if memory.total < machine.memory * 1e9 else " (too large)"
    return (
        f"| {MODELS[model]} | {name} | {mesh} | {microbatches} | {_gigabytes(memory.state)}"
        f" | {_gigabytes(memory.temporary)} | {machine.memory} GB{fits} |"
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.{2 if count < 1e9 else 1}f} GB"


def configuration(model: str) -> Any:
    """The configuration of a file in `gin/models`."""
    from launch import gin_config

    gin_config.parse([f"models/{model}.gin"])
    return gin_config.macro("MODEL")


def measure(
    config: Any,
    mesh: tuple[int, int, int],
    *,
    rows: int,
    lengths: tuple[int, int],
    microbatches: int,
) -> Memory:
    """Compiles the step of packed rows and reads what it needs.

    Args:
        config: a `T5Config`.
        mesh: sizes of data, fsdp and tensor; their product is the number of devices.
        rows: rows of the global batch.
        lengths: of inputs and of targets, in tokens.
        microbatches: parts of the batch.
    """
    import math

    import jax
    import numpy as np

    from instrux.models.families import model_of
    from instrux.training.mesh import MeshShape, make_mesh
    from instrux.training.optimizers import Adafactor
    from instrux.training.program import Program
    from instrux.training.schedules import constant
    from instrux.training.train_step import StepSettings

    model = model_of(config)
    program = Program(
        model,
        Adafactor().build(constant(), model.logical_axes()),
        constant(),
        mesh=make_mesh(MeshShape(*mesh), jax.devices()[: math.prod(mesh)]),
        batch_size=rows,
        settings=StepSettings(microbatches=microbatches),
        seed=0,
    )
    inputs, targets = (jax.ShapeDtypeStruct((rows, length), np.int32) for length in lengths)
    batch = {"encoder_input_tokens": inputs, "encoder_segment_ids": inputs}
    batch |= {
        name: targets
        for name in ("decoder_input_tokens", "decoder_target_tokens", "decoder_segment_ids")
    }
    analysis = program.compile_step(batch).memory_analysis()
    state = sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(program.abstract_state)
    )
    return Memory(state=state, temporary=analysis.temp_size_in_bytes)


if __name__ == "__main__":
    main()
