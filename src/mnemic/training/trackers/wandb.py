"""Weights & Biases, as its own settings say: WANDB_MODE=offline writes to the run's folder, for `wandb sync` later."""

from pathlib import Path

import wandb

from mnemic.training.trackers.base import TrackedRun

__all__ = ["WeightsAndBiases"]


class WeightsAndBiases:
    def __init__(self, run: TrackedRun, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            project="mnemic", id=run.id, name=run.name, group=run.group, config=run.config, dir=str(directory),
            resume="allow", reinit="create_new", settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip

    def log(self, step: int, numbers: dict[str, float]) -> None:
        self.run.log(numbers, step=step)

    def finish(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.run.summary[f"final/{name}"] = value
        self.run.finish()
