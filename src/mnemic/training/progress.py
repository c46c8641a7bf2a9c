"""What training says while it runs, and how it is asked to stop."""

from collections.abc import Callable
from dataclasses import dataclass

from mnemic.errors import MnemicError

__all__ = ["Interrupted", "OnProgress", "Progress", "ShouldStop"]


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
    """

    phase: str
    step: int
    steps: int
    train_loss: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None
    bytes_per_row: int | None = None
    evaluated_at: int | None = None


OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


class Interrupted(MnemicError):
    """Training was asked to stop and has written a checkpoint, where it has a folder for it."""
