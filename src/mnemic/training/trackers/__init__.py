"""Charts that people keep beside `results.jsonl`: TensorBoard, Weights & Biases, trackio.

A tracker is told the run's config once, the numbers of every step, and the metrics at the end. It never stops a run:
the first thing that goes wrong in it is said once, and it is told nothing more.
"""

import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mnemic.catalogue import resolve
from mnemic.errors import MissingExtra, UsageError, nearest
from mnemic.training.trackers.base import TrackedRun, Tracker

__all__ = ["TRACKERS", "TrackedRun", "Tracker", "Tracking", "check_trackers"]

log = logging.getLogger(__name__)

TRACKERS = {
    "tensorboard": ("tensorboard", "mnemic.training.trackers.tensorboard:TensorBoard"),
    "wandb": ("wandb", "mnemic.training.trackers.wandb:WeightsAndBiases"),
    "trackio": ("trackio", "mnemic.training.trackers.trackio:Trackio"),
}
"""name -> the library it needs, and its class."""


def check_trackers(names: Sequence[str]) -> None:
    """
    Raises:
        UsageError: there is no tracker of that name.
        MissingExtra: its library is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UsageError(f"there is no tracker '{name}'{nearest(name, TRACKERS)}")
        if find_spec(TRACKERS[name][0]) is None:
            raise MissingExtra(f"track {name}", "trackers")


class Tracking:
    """Several trackers as one that cannot fail.

    Args:
        names: of TRACKERS.
        directory: of the run; what stays on this machine is written below it.
    """

    def __init__(self, names: Sequence[str], run: TrackedRun, directory: Path) -> None:
        self.trackers: dict[str, Tracker] = {}
        self.warnings: list[str] = []
        for name in names:
            self._safely(name, lambda name=name: self._open(name, run, directory))  # type: ignore[misc]

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Numbers of one step; steps may come again after a resume."""
        for name, tracker in list(self.trackers.items()):
            self._safely(name, lambda tracker=tracker: tracker.log(step, numbers))  # type: ignore[misc]

    def finish(self, metrics: dict[str, float]) -> None:
        """The run's final metrics; nothing is logged after them. {}: it was interrupted, or failed."""
        for name, tracker in list(self.trackers.items()):
            self._safely(name, lambda tracker=tracker: tracker.finish(metrics))  # type: ignore[misc]
        self.trackers = {}

    def _open(self, name: str, run: TrackedRun, directory: Path) -> None:
        self.trackers[name] = resolve(TRACKERS[name][1])(run, directory)

    def _safely(self, name: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:  # whatever a tracker's library raises is no reason to lose a run
            self.trackers.pop(name, None)
            first = str(error).strip().partition("\n")[0]
            said = f"tracker {name} failed ({type(error).__name__}: {first}); the run goes on without it"
            self.warnings.append(said)
            log.warning(said)
