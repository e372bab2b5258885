"""Which paths the workers of a job can see."""

import os
import re
from collections.abc import Iterable

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
)
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES
from apache_beam.runners.portability.spark_runner import LOCAL_MASTER_PATTERN

from instrux.errors import InputError

_IN_CONTAINERS = {"PortableRunner", "FlinkRunner", "SparkRunner"}


def refuse_local_paths(
    options: PipelineOptions, paths: Iterable[str | os.PathLike[str]], *, what: str
) -> None:
    """Refuses paths of this machine where the workers cannot see it.

    Dataflow's workers never do; those of Flink and Spark run in containers unless
    `--environment_type` says otherwise, and those see no folder of their machine either.

    Args:
        options: Beam's.
        paths: what the workers read or write.
        what: what the paths are, for the message.

    Raises:
        InputError: one of the paths is no object store's.
    """
    why = _why_not_here(options)
    if not why:
        return
    for path in paths:
        if path and "://" not in os.fspath(path):
            raise InputError(
                f"{what} {path}: {why}; give a place in an object store (gs://…, s3://…)"
                + ("" if "Dataflow" in why else ", or --environment_type=PROCESS and a shared one")
            )


def _why_not_here(options: PipelineOptions) -> str:
    runner = options.view_as(StandardOptions).runner or ""
    if runner == "DataflowRunner":
        return "Dataflow's workers see no folder of this machine"
    if runner not in _IN_CONTAINERS or _starts_its_cluster_here(runner, options):
        return ""
    kind = options.view_as(PortableOptions).environment_type or "DOCKER"
    if "docker" not in kind.lower():
        return ""
    return f"{runner}'s workers run in containers, which see no folder"


def _starts_its_cluster_here(runner: str, options: PipelineOptions) -> bool:
    """Whether Beam itself runs the workers in this process, as it does beside a cluster of its own."""
    if options.view_as(PortableOptions).environment_type:
        return False
    if runner == "FlinkRunner":
        return options.view_as(FlinkRunnerOptions).flink_master in MAGIC_HOST_NAMES
    if runner == "SparkRunner":
        master = options.view_as(SparkRunnerOptions).spark_master_url
        return re.match(LOCAL_MASTER_PATTERN, master) is not None
    return False
