"""trackio, which keeps runs on this machine (TRACKIO_DIR) and shows them with `trackio show`."""

from pathlib import Path
from typing import Any

import trackio

from mnemic.training.trackers.base import TrackedRun

__all__ = ["Trackio"]


class Trackio:
    def __init__(self, run: TrackedRun, directory: Path) -> None:
        name = f"{run.name} {run.id}"
        self.run: Any = trackio.init(
            project="mnemic", name=name, group=run.group, config=run.config, resume="allow", embed=False,
            auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip

    def log(self, step: int, numbers: dict[str, float]) -> None:
        trackio.log(numbers, step=step)

    def finish(self, metrics: dict[str, float]) -> None:
        if metrics:
            trackio.log({f"final/{name}": value for name, value in metrics.items()})
        trackio.finish()  # type: ignore[no-untyped-call]
