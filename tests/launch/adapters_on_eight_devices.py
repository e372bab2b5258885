"""Trains adapters on meshes of eight simulated devices; test_train_adapters.py runs it.

    python adapters_on_eight_devices.py OUT DATA_DIR BASE

It makes two steps on one mesh, and the next two, from the checkpoint, on another.
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
    for steps, sizes in ((2, (2, 2, 2)), (4, (1, 4, 2))):
        tests.train_both(*sys.argv[1:], mesh=MeshShape(*sizes), train_steps=steps)
