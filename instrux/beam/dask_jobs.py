"""What Beam's DaskRunner needs to be told before a job: into how many parts, and on which cluster.

By itself it puts up to 128 elements into one part, so that a hundred files are read by one worker.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from instrux.errors import InputError
from instrux.progress import tell

_PARTS_A_CORE = 2
_DIVISION = ("npartitions", "partition_size")
_LOGGING = "DASK_LOGGING__DISTRIBUTED"


def uses_dask(options: PipelineOptions) -> bool:
    """Whether the job runs on Dask."""
    return (options.view_as(StandardOptions).runner or "").endswith("DaskRunner")


def has_cluster(options: PipelineOptions) -> bool:
    """Whether the job runs on a Dask cluster that is there already, perhaps on other machines."""
    if not uses_dask(options):
        return False
    given = _dask_options(options)
    return bool(given.address or given.scheduler_file)


def divide(options: PipelineOptions) -> None:
    """Sets the number of parts by the cluster's cores, where the user did not.

    Raises:
        InputError: no scheduler answers.
    """
    given = _dask_options(options)
    cores = _cores(given) if has_cluster(options) else os.cpu_count() or 1
    if not (given.npartitions or given.partition_size):
        given.npartitions = _PARTS_A_CORE * max(1, cores)


def _dask_options(options: PipelineOptions) -> Any:
    from apache_beam.runners.dask.dask_runner import DaskOptions

    return options.view_as(DaskOptions)


def _cores(given: Any) -> int:
    from distributed import Client

    where = given.address or given.scheduler_file
    options = given.get_all_options(drop_default=True, current_only=True)
    connection = {name: value for name, value in options.items() if name not in _DIVISION}
    try:
        with Client(**connection) as client:
            threads: Any = client.ncores()
            cores = sum(threads.values())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{where}: no Dask scheduler answers ({error}); start one by `dask scheduler`, or leave"
            " the address out to have workers on this machine"
        ) from error
    if not cores:
        tell(f"Dask: {where} has no worker yet; the job waits for one")
    return cores


@contextmanager
def quiet_workers() -> Iterator[None]:
    """Keeps what local workers of Dask tell of their start and end off the screen.

    That another cluster has the port of Dask's own page is no news either: it takes another.
    """
    before = os.environ.get(_LOGGING)
    os.environ.setdefault(_LOGGING, "error")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\s*Port \d+ is already in use", UserWarning)
            yield
    finally:
        if before is None:
            os.environ.pop(_LOGGING, None)
