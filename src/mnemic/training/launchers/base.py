"""What a grid asks of the place where its runs work."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from mnemic.training.runs import RunSpec

__all__ = ["PATIENCE_SECONDS", "Job", "Launcher"]

PATIENCE_SECONDS = 20.0  # for runs that were asked to stop, before they are killed


class Job(Protocol):
    """One run at work, or over.

    Once it is over, the run's folder on the grid's machine holds what it left: `results.jsonl` when it is done,
    `failure.json` when it failed and could say why, neither when it died or was stopped.
    """

    def progress(self) -> dict[str, Any] | None:
        """What `training.progress.Progress` holds, as far as it has been heard of; None: nothing yet."""

    def is_over(self) -> bool: ...

    def why(self, progress: dict[str, Any]) -> str:
        """How a run died that could not say so itself; `progress` is the last that was heard of it."""

    def stop(self) -> None:
        """Ask it to write a checkpoint and end."""

    def kill(self) -> None:
        """End it now, and return when it has ended."""


class Launcher(Protocol):
    """Starts runs.

    Attributes:
        at_once: how many may be at work together.
        retries: how often a run that died without a word is started again, where a death says nothing of the run.
    """

    at_once: int
    retries: int

    def start(self, spec: RunSpec, folder: Path) -> Job:
        """Start a run in its folder, where it may go on from what an earlier start has left."""

    def wait(self, jobs: Sequence[Job], seconds: float) -> None:
        """Return when one of the jobs is over, or that many seconds later."""

    def close(self) -> None:
        """Give back what was taken; no job is at work any more."""
