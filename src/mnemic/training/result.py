"""What training gives back, and who may judge it while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

__all__ = ["Judge", "TrainResult"]

Judge = Callable[[nn.Module], float]
"""A score of the model as it is from 0 to 1, higher is better: accuracy by generation, for instance."""


@dataclass(frozen=True)
class TrainResult:
    """What training gave beside the model's weights.

    Attributes:
        curve: one point per evaluation on validation rows.
        steps: done.
        stopped_early_at: the step at which the target was met or patience ended, or None.
        seconds: spent in training steps, over all processes that a run was resumed in.
        tokens_per_second: of training, without each process's first step.
        peak_memory_bytes: by how much this process grew, or what the device held at most.
    """

    curve: list[dict[str, Any]]
    steps: int
    stopped_early_at: int | None
    seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
