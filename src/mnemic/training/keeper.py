"""What a run leaves on the disk while it trains: its checkpoints and, where asked, its best evaluation's weights."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from mnemic.errors import UsageError
from mnemic.training import checkpoint, sharding
from mnemic.training.best import save_best
from mnemic.training.config import TrainConfig
from mnemic.training.state import State

__all__ = ["Keeper"]


class Keeper:
    """Writes from the main process; where the model is sharded, every process must call what writes.

    Args:
        directory: of the run; None to keep nothing.
    """

    def __init__(
        self,
        directory: Path | None,
        model: nn.Module,
        optimizer: Optimizer,
        config: TrainConfig,
        accelerator: Accelerator,
        is_sharded: bool,
    ) -> None:
        self.directory, self.model, self.optimizer, self.config = directory, model, optimizer, config
        self.folder = directory / "checkpoints" if directory is not None else None
        self.accelerator, self.is_sharded = accelerator, is_sharded

    def found(self, state: State, *, resume: bool) -> State:
        """The state of the newest whole checkpoint, with model and optimiser put back; `state` where there is none.

        Raises:
            UsageError: there are checkpoints and `resume` is not set, or they are another run's.
            MnemicError: all of them are damaged.
        """
        if self.folder is None:
            return state
        if not resume:
            if checkpoint.checkpoints(self.folder):
                raise UsageError(f"{self.folder} already holds checkpoints; resume that run, or name another folder")
            return state
        found = checkpoint.load_newest(self.folder, self.model, self.optimizer)
        if found is None:
            return state
        if found["fingerprint"] != state.fingerprint:
            raise UsageError(f"{self.folder} is of another task or other training options; name another folder")
        return State(**found)

    def save(self, state: State) -> None:
        """Write a checkpoint, unless the newest is of this very step."""
        if self.folder is None:
            return
        is_main = self.accelerator.is_main_process
        model: Any = self.model
        optimizer: Any = self.optimizer
        if self.is_sharded:
            model = sharding.gathered_weights(model, keep=is_main)
            optimizer = sharding.gathered_optimizer(optimizer, keep=is_main)
        newest = checkpoint.checkpoints(self.folder)[-1:]
        if is_main and (not newest or checkpoint.step_of(newest[0]) != state.step):
            keep = self.config.keep_checkpoints
            checkpoint.save(self.folder, state.step, model, optimizer, asdict(state), keep)
        self.accelerator.wait_for_everyone()

    def keep_if_best(self, state: State, score: float) -> None:
        """Write the weights where `score` is the highest yet, and note it in `state`."""
        if not math.isfinite(score) or (state.best_score is not None and score <= state.best_score):
            return
        assert self.directory is not None
        state.best_score = score
        is_main = self.accelerator.is_main_process
        weights = sharding.gathered_weights(self.model, keep=is_main)
        if is_main:
            save_best(self.directory / "best", weights, state.curve[-1])
        self.accelerator.wait_for_everyone()

    def kept(self) -> str:
        """Where one can go on from, for messages."""
        kept = checkpoint.checkpoints(self.folder) if self.folder is not None else []
        return f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
