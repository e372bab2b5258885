"""Where else a run's metrics go: services that follow experiments, besides the run's own files."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from instrux.errors import InputError


class Tracker(Protocol):
    """Takes the values of logged steps."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Takes a step's values; names have slashes for groups."""
        ...

    def close(self) -> None:
        """Sends what is left."""
        ...


class TrackerSettings(Protocol):
    """A description of a tracker that gin can bind."""

    def open(self, model_dir: Path, config: Mapping[str, Any]) -> Tracker:
        """Starts to follow the run in this folder."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wandb:
    """Weights & Biases, from the extra `wandb`; a resumed run goes on in the same page.

    Attributes:
        project: its project.
        name: the run's name there; that of the run's folder where None.
        entity: the team or user, None for the default.
        mode: `online`, `offline` (sent later by `wandb sync`) or `disabled`.
        settings: more arguments of `wandb.init`.
    """

    project: str
    name: str | None = None
    entity: str | None = None
    mode: str = "online"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def open(self, model_dir: Path, config: Mapping[str, Any]) -> "WandbTracker":
        """Starts or resumes the run there.

        Raises:
            InputError: the package is not installed.
        """
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise InputError(
                "trackers: wandb is not installed; pip install 'instrux[wandb]', or leave it out."
            ) from error
        remembered = model_dir / "wandb_run_id"
        identity = remembered.read_text().strip() if remembered.exists() else None
        run = wandb.init(
            project=self.project,
            name=self.name or model_dir.name,
            entity=self.entity,
            mode=self.mode,
            dir=str(model_dir),
            id=identity,
            resume="allow",
            config=dict(config),
            **dict(self.settings),
        )
        remembered.write_text(run.id + "\n")
        return WandbTracker(run)


class WandbTracker:
    """An open run of Weights & Biases."""

    def __init__(self, run: Any) -> None:
        """Follows `run`, what `wandb.init` gave."""
        self._run = run

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Sends a step's values."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the run there."""
        self._run.finish()
