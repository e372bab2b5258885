"""Runs the plans of a render, whole or, where reading fails, each of its sources alone."""

import dataclasses
import tempfile
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from instrux.beam.finish import FinishedSplits, FinishSettings
from instrux.beam.plan import RenderPlan, SourceReader, SplitJob, make_plans
from instrux.beam.read import ReadUnits
from instrux.beam.render import RenderedBlobs
from instrux.beam.rows_done import total_done
from instrux.beam.runners import is_local, run_pipeline, shares_this_machine
from instrux.beam.spill import spill_folder
from instrux.beam.write import WrittenFiles
from instrux.data.sources_base import SourceError
from instrux.progress import Progress
from pipelines.failed_sources import FailedSource

_BYTES_IN_MEMORY = 16 << 20  # between stages of a plan, on a runner that keeps them in memory


@dataclasses.dataclass
class PlanRunner:
    """Runs one plan after the other.

    Attributes:
        reader: knows the shards of the sources.
        settings: how splits are judged.
        options: Beam's.
        bytes_at_once: about how much one plan may render; None is any amount.
        shown: the progress of the whole job.
        finished: renders of the plans before this one.
    """

    reader: SourceReader
    settings: FinishSettings
    options: Any
    bytes_at_once: int | None
    shown: Progress
    finished: int = 0

    def run(self, plan: RenderPlan) -> None:
        """Runs a plan.

        Raises:
            SourceError: the rows of one of its sources cannot be read.
            InputError: anything else that a user can mend.
        """
        with (
            tempfile.TemporaryDirectory(prefix="instrux-render-") as folder,
            self._spill_folder(plan) as spill,
        ):
            watched = shares_this_machine(self.options)

            def build(pipeline) -> None:
                _ = (
                    pipeline
                    | "Read" >> ReadUnits(plan.units)
                    | "Render" >> RenderedBlobs(plan, folder if watched else "", spill)
                    | "Write" >> WrittenFiles([str(job.output.folder) for job in plan.jobs], spill)
                    | "Finish" >> FinishedSplits(plan, self.settings)
                )

            def watch() -> None:
                self.shown.update(self.finished + total_done(folder))

            run_pipeline(build, self.options, watch=watch if watched else None)

    def _spill_folder(self, plan: RenderPlan) -> AbstractContextManager[str]:
        """Where blobs wait on disk; "" where the runner sees to that, or they are few."""
        if not is_local(self.options) or plan.bytes <= _BYTES_IN_MEMORY:
            return nullcontext("")
        return spill_folder(plan.jobs[0].data_dir)

    def run_apart(self, plan: RenderPlan) -> list[FailedSource]:
        """Runs a plan; where its reading fails, each of its sources alone, to know which it was.

        Returns:
            The sources that could not be read to their end.

        Raises:
            InputError: anything but a source that cannot be read.
        """
        try:
            self.run(plan)
            return []
        except SourceError as error:
            first = str(error)
        groups: dict[tuple[str, str], list[SplitJob]] = {}
        for job in plan.jobs:
            groups.setdefault((job.task.source.key(), job.task.splits[job.split]), []).append(job)
        failed = []
        for group in groups.values():
            reason = first
            if len(groups) > 1:
                try:
                    for alone in make_plans(group, self.reader, bytes_at_once=self.bytes_at_once):
                        self.run(alone)
                    continue
                except SourceError as error:
                    reason = str(error)
            pairs = [(job.task, job.split) for job in group]
            failed.append(FailedSource.of(pairs, "interrupted", reason))
        return failed
