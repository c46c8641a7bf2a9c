"""TensorBoard's event files, in the run's folder: `tensorboard --logdir FOLDER` finds them wherever they lie below."""

import json
import re
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from mnemic.training.trackers.base import TrackedRun

__all__ = ["TensorBoard"]


class TensorBoard:
    def __init__(self, run: TrackedRun, directory: Path) -> None:
        self.folder = directory / "tensorboard" / re.sub(r"[^\w.+=-]+", "-", run.name)
        self.writer: SummaryWriter | None = None
        self.config = json.dumps(run.config, indent=1, default=str)

    def log(self, step: int, numbers: dict[str, float]) -> None:
        if self.writer is None:  # what was logged after the checkpoint from which the run goes on is passed over
            self.writer = SummaryWriter(str(self.folder), purge_step=step)
            self.writer.add_text("config", f"```json\n{self.config}\n```")
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def finish(self, metrics: dict[str, float]) -> None:
        if self.writer is None:
            return
        for name, value in metrics.items():
            self.writer.add_scalar(f"final/{name}", value)
        self.writer.close()
