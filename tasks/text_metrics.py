"""Metrics of the evaluation room as metric functions of SeqIO tasks."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextMetrics:
    """A SeqIO metric function that reports the metrics of some names, in percent.

    Attributes:
        names: names as in `PromptedTask.metrics`: ours, or PromptSource's.
    """

    names: tuple[str, ...]

    def __call__(
        self, targets: Sequence[str | int], predictions: Sequence[str | int]
    ) -> dict[str, float]:
        """Scores texts, or numbers of classes, against each other."""
        # Registering a task must not import what scoring needs.
        from instrux.evaluation.metrics import resolve_metrics

        references = [[str(target)] for target in targets]
        outputs = [str(prediction) for prediction in predictions]
        return {
            metric.name: metric.score(outputs, references)
            for metric in resolve_metrics(self.names)
            if metric.grouped is None  # SeqIO hands over no groups
        }
