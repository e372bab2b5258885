"""What a user sees of an error that no stage has put into words."""

import errno
import os

from launch.entry import FAULT_STATUS, USAGE_STATUS, guarded


def _fails_with(error):
    def main(_):
        raise error

    return main


def test_a_full_disk_is_one_line_that_names_the_file_and_the_mend(capsys):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/rows.bin")
    assert guarded(_fails_with(error), []) == USAGE_STATUS
    assert capsys.readouterr().err == (
        "instrux: out/rows.bin: No space left on device; make room and give the same command again;"
        " what is complete is kept\n"
    )


def test_any_other_error_is_a_fault_with_its_traceback(capsys):
    assert guarded(_fails_with(OSError(errno.EIO, "Input/output error")), []) == FAULT_STATUS
    assert "Traceback" in capsys.readouterr().err
