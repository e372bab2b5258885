"""What every entry point does around its work: quiet libraries, one-line errors, exit status."""

import errno
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence

from instrux.errors import InputError
from launch.cli_options import UnknownArgument

_GIN_TRAIL = re.compile(r"\s*In call to configurable '")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
USAGE_STATUS = 2
FAULT_STATUS = 1
INTERRUPTED_STATUS = 130


def guarded(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Runs `main`; a user's mistake becomes one line on stderr and status 2.

    Any other exception is a fault of ours: its traceback is shown, and the status is 1.
    """
    quiet_libraries()
    try:
        return main(arguments)
    except InputError as error:
        print(f"instrux: {one_line(error)}", file=sys.stderr)
        return _failed(USAGE_STATUS)
    except KeyboardInterrupt:
        print("instrux: interrupted; what is complete is kept", file=sys.stderr)
        return INTERRUPTED_STATUS
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone; that is no fault.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            where = f"{error.filename}: " if error.filename else ""
            mend = "make room and give the same command again; what is complete is kept"
            print(f"instrux: {where}{error.strerror}; {mend}", file=sys.stderr)
            return _failed(USAGE_STATUS)
        traceback.print_exc()
        return _failed(FAULT_STATUS)


def _failed(status: int) -> int:
    """Ends one of several processes at once.

    To leave in order it would wait for the others, who wait for it; so they see that it is gone.
    """
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        told = "one process of several fails: all end. The same command goes on where they stopped"
        print(f"instrux: {told}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def one_line(error: Exception) -> str:
    """Gives an error's message on one line, without the trail of calls that gin appends."""
    message, *_ = _GIN_TRAIL.split(str(error), maxsplit=1)
    return " ".join(message.split())


def quiet_libraries() -> None:
    """Keeps the chatter of TensorFlow, Beam and absl off the screen, errors excepted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    logging.getLogger().setLevel(logging.ERROR)


def gin_bindings(arguments: Sequence[str]) -> list[str]:
    """Takes `--gin.NAME=VALUE` and `--gin.NAME VALUE` apart into gin's `NAME=VALUE`.

    Raises:
        InputError: an argument is something else, or has no value.
    """
    bindings: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--gin."):
            raise UnknownArgument(argument)
        binding = argument.removeprefix("--gin.")
        if "=" not in binding:
            if not rest:
                raise InputError(f"{argument} has no value; write {argument}=VALUE")
            binding = f"{binding}={rest.pop(0)}"
        bindings.append(binding)
    return bindings
