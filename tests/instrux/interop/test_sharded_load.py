import subprocess
import sys
from pathlib import Path

from instrux.interop.huggingface import write_folder


def test_parameters_are_loaded_in_parts_onto_a_mesh(tmp_path, held):
    write_folder(tmp_path, held)
    script = Path(__file__).with_name("on_eight_devices.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # `embed` is split over fsdp, `mlp` over tensor, and both copies of `data` hold the same.
    assert done.stdout.strip() == "(2, 8, 12) (2, 4, 6) 8"
