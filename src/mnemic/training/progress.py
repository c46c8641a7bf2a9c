"""What training says while it runs, and how it is asked to stop."""

from collections.abc import Callable
from dataclasses import dataclass

from mnemic.errors import MnemicError

__all__ = ["Interrupted", "OnProgress", "OnStep", "Progress", "ShouldStop", "StepNumbers"]


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes:
        phase: "training" or "testing".
        step, steps: optimiser steps done, and in the budget.
        train_loss: mean since the last evaluation.
        valid_loss, valid_accuracy: of the last evaluation.
        bytes_per_row: what one more row of a batch takes in memory.
        evaluated_at: step of the last evaluation.
        warnings: what went wrong beside the run, such as a tracker.
    """

    phase: str
    step: int
    steps: int
    train_loss: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None
    bytes_per_row: int | None = None
    evaluated_at: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepNumbers:
    """What one optimiser step came to.

    Attributes:
        step: steps done, this one included.
        loss: of the step's batch, in nats.
        lr: of the step.
        gradient_norm: before it was clipped.
        tokens_per_second: of this step, all processes together.
        valid_loss, valid_accuracy: where the step was followed by an evaluation.
    """

    step: int
    loss: float
    lr: float
    gradient_norm: float
    tokens_per_second: float
    valid_loss: float | None = None
    valid_accuracy: float | None = None


OnStep = Callable[[StepNumbers], None]
OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


class Interrupted(MnemicError):
    """Training was asked to stop and has written a checkpoint, where it has a folder for it."""
