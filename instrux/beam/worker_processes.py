"""Beam's worker processes on this machine, watched: a job that loses one ends, and says so.

Beam's own runner waits for ever for the answer of a worker process that died before it had opened
its data channel, or while it worked on the last step, or after it had said that a step is done and
before it had sent all that the step gave (2.77).
"""

import signal
import threading
from collections.abc import Iterable
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.transforms import environments

_URN = "instrux:env:watched_process_python:v1"
_ANSWER_EVERY_SECS = 0.1
KILLED = "a worker process of the job was killed"
_lost: dict[str, str] = {}

# Beam's own decorators hide from a type checker that these are classes.
_Processes: Any = environments.SubprocessSDKEnvironment
_Handler: Any = worker_handlers.SubprocessSdkWorkerHandler
_register: Any = environments.Environment.register_urn


@_register(_URN, bytes)
class WatchedProcesses(_Processes):
    """Worker processes that a command starts, as Beam's own environment for them."""

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        """The name and the content that a pipeline's proto holds."""
        del context
        return _URN, self.command_string.encode()

    @staticmethod
    def from_runner_api_parameter(
        payload: bytes,
        capabilities: Iterable[str],
        artifacts: Iterable[Any],
        resource_hints: Any,
        context: Any,
    ) -> Any:
        """What `to_runner_api_parameter` gave."""
        del context
        return WatchedProcesses(payload.decode(), capabilities, artifacts, resource_hints)


def loss(command: str) -> str:
    """How a worker process that this command started was lost; "" if none was. Told once."""
    return _lost.pop(command, "")


@worker_handlers.WorkerHandler.register_environment(_URN, bytes)
class _WatchedProcess(_Handler):
    """One worker process; once it is gone, whatever it is asked fails instead of waiting."""

    def start_worker(self) -> None:
        from apache_beam.runners.portability import local_job_service

        self._closing = threading.Event()
        self.worker = local_job_service.SubprocessSdkWorker(
            self._worker_command_line, self.control_address, self.provision_info, self.worker_id
        )
        self.worker_thread = threading.Thread(name="run_worker", target=self._watch, daemon=True)
        self.worker_thread.start()

    def close(self) -> None:
        self._closing.set()
        super().close()

    def _watch(self) -> None:
        how = "a worker process of the job ended before its work was done"
        try:
            self.worker.run()
        except RuntimeError as error:  # Beam's words for a status other than 0
            how = _how_it_ended(str(error).rsplit(" ", 1)[-1])
        if not self._closing.is_set():
            # What waits for other workers may fail first, and in words that do not tell why.
            _lost.setdefault(self._worker_command_line.decode(), how)
        while not self._closing.is_set():
            self._answer_all(how)
            self._closing.wait(_ANSWER_EVERY_SECS)

    def _answer_all(self, how: str) -> None:
        waiting = self.control_conn._futures_by_id
        for instruction in list(waiting):
            if (future := waiting.pop(instruction, None)) is not None:
                future.set(
                    beam_fn_api_pb2.InstructionResponse(instruction_id=instruction, error=how)
                )
        # Raised once nothing more has come for a second: what the process had sent is still read.
        self.data_conn._exception = RuntimeError(how)


def _how_it_ended(status: str) -> str:
    """Words a status as `subprocess` gives it; a signal is no fault of the program."""
    if not status.startswith("-"):
        return f"a worker process of the job ended with status {status}"
    number = int(status)
    name = signal.Signals(-number).name if -number in set(signal.Signals) else f"signal {-number}"
    return (
        f"{KILLED} ({name}), most often for lack of "
        "memory; start the job again with fewer workers (--direct_num_workers) or more memory: "
        "what is complete is kept"
    )
