"""What training carries from step to step beside tensors: the JSON of a checkpoint."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from mnemic.training.config import TrainConfig
from mnemic.training.rows import Rows

__all__ = ["State", "fingerprint"]

_NO_PART_OF_THE_RESULT = {"checkpoint_every", "keep_checkpoints", "checkpointing", "shard"}


@dataclass
class State:
    """
    Attributes:
        fingerprint: of the run, see :func:`fingerprint`.
        step: optimiser steps done.
        position: the training row that the next step starts with.
        stream: where streamed rows stand, see `shares.Shares.state`.
        curve: one point per evaluation.
        loss_sum, loss_steps: of the training losses since the last evaluation.
        best_loss: the lowest validation loss so far.
        best_score: the highest score so far, of those that the caller gives, or the lowest loss with a minus.
        evaluations_without_gain: since then.
        stopped_early_at: the step at which the target was met or patience ended.
        seconds: spent in training steps.
        steady_seconds, steady_tokens: without each process's first step, which compiles and warms up.
    """

    fingerprint: str
    step: int = 0
    position: int = 0
    stream: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_steps: int = 0
    best_loss: float | None = None
    best_score: float | None = None
    evaluations_without_gain: int = 0
    stopped_early_at: int | None = None
    seconds: float = 0.0
    steady_seconds: float = 0.0
    steady_tokens: int = 0

    def is_over(self, config: TrainConfig) -> bool:
        return self.step >= config.steps or self.stopped_early_at is not None

    def count_step(self, loss: float, config: TrainConfig) -> None:
        self.loss_sum, self.loss_steps = self.loss_sum + loss, self.loss_steps + 1
        self.step += 1
        self.position = self.step * config.batch_size

    def count_time(self, seconds: float, tokens: int, *, steady: bool) -> None:
        self.seconds += seconds
        if steady:
            self.steady_seconds, self.steady_tokens = self.steady_seconds + seconds, self.steady_tokens + tokens

    def count_evaluation(self, loss: float, accuracy: float | None, config: TrainConfig) -> None:
        """Add a point to the curve, and decide whether training is over."""
        train_loss = self.loss_sum / self.loss_steps
        self.curve.append(
            {
                "step": self.step, "train_loss": train_loss, "valid_loss": loss, "valid_accuracy": accuracy,
                "seconds": round(self.seconds, 3),
            }
        )  # fmt: skip
        self.loss_sum, self.loss_steps = 0.0, 0
        better = self.best_loss is None or loss < self.best_loss
        self.evaluations_without_gain = 0 if better else self.evaluations_without_gain + 1
        self.best_loss = loss if better else self.best_loss
        solved = config.stop_at is not None and accuracy is not None and accuracy >= config.stop_at
        stuck = config.patience is not None and self.evaluations_without_gain >= config.patience
        if (solved or stuck) and self.step < config.steps:
            self.stopped_early_at = self.step


def fingerprint(task: Rows, config: TrainConfig) -> str:
    """Equal for two runs exactly when one may go on from the other's checkpoint."""
    options = config.model_dump(mode="json", exclude=_NO_PART_OF_THE_RESULT)
    return hashlib.sha256(json.dumps([task.hash(), options], sort_keys=True).encode()).hexdigest()
