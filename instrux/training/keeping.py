"""Which checkpoints of a run stay: the newest, those of every so many steps, the best."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from instrux.errors import InputError


@dataclass(frozen=True, kw_only=True)
class KeepBest:
    """Keeps the best checkpoints by a metric of the evaluations during training.

    Attributes:
        count: how many stay.
        metric: its name in `metrics.jsonl`, such as `eval_loss`.
        lowest: whether the lowest value is the best.
    """

    count: int = 1
    metric: str = "eval_loss"
    lowest: bool = True

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"KeepBest.count is {self.count}; give 1 or more.")

    def rank(self, metrics: Mapping[str, float]) -> float:
        """Higher is better."""
        return -metrics[self.metric] if self.lowest else metrics[self.metric]


def preservation_policy(keep: int, keep_every_steps: int | None, keep_best: KeepBest | None) -> Any:
    """Orbax's policy: a checkpoint stays if it is one of the newest, of a multiple, or of the best."""
    policies: list[Any] = [preservation.LatestN(keep)]
    if keep_every_steps is not None:
        policies.append(preservation.EveryNSteps(keep_every_steps))
    if keep_best is not None:
        best = preservation.BestN(
            get_metric_fn=keep_best.rank, n=keep_best.count, keep_checkpoints_without_metrics=False
        )
        policies.append(best)
    return preservation.AnyPreservationPolicy(policies)
