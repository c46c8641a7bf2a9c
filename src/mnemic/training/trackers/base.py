"""What a tracker is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

__all__ = ["TrackedRun", "Tracker"]


@dataclass(frozen=True)
class TrackedRun:
    """
    Attributes:
        id: the same when a run goes on after an interrupt, so that its chart does.
        name: for people.
        group: of runs that belong beside each other: the task.
        config: every option, nested.
    """

    id: str
    name: str
    group: str
    config: dict[str, Any]


class Tracker(Protocol):
    """One library's charts of one run. It may raise: `Tracking` stands between it and the run."""

    def __init__(self, run: TrackedRun, directory: Path) -> None: ...

    def log(self, step: int, numbers: dict[str, float]) -> None: ...

    def finish(self, metrics: dict[str, float]) -> None: ...
