"""Trains adapters on meshes of eight simulated devices; test_train_adapters.py runs it.

    python adapters_on_eight_devices.py DATA_DIR OUT KIND BASE [KIND BASE ...]

For every kind it makes six steps on one mesh; low-rank factors the last three, from the checkpoint,
on another.
"""

import importlib.util
import sys
from pathlib import Path

from instrux.training.mesh import MeshShape

_SPEC = importlib.util.spec_from_file_location(
    "test_train_adapters", Path(__file__).with_name("test_train_adapters.py")
)
tests = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tests)

if __name__ == "__main__":
    data_dir, out, *rest = sys.argv[1:]
    for kind, base in zip(rest[::2], rest[1::2], strict=True):
        sessions = [(6, (2, 2, 2))]
        if kind.endswith("lora"):
            sessions = [(3, (2, 2, 2)), (6, (1, 4, 2))]
        for steps, sizes in sessions:
            tests.tiny_run.train_tiny(
                Path(out) / kind.replace(" ", "_"),
                data_dir,
                train_steps=steps,
                mesh=MeshShape(*sizes),
                **tests.settings_of(kind, base),
            )
