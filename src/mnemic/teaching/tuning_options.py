"""What may be changed about any fine-tuning: a stage's budget, and what holds for a whole run."""

import math
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from mnemic.training.config import TrainConfig

__all__ = ["FREE", "Lora", "Options", "RunOptions", "StageOptions"]

_LEAST_STEPS_AN_EPOCH = 20

FREE = frozenset({"device", "shard", "checkpointing", "checkpoint_every", "rows_at_once"})
"""Options that may change when a run is resumed: they decide how it is computed, not what."""


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageOptions(Options):
    """One stage of training."""

    usual_batch: ClassVar[int] = 512

    epochs: float = Field(5, gt=0, description="passes over the training rows")
    steps: int | None = Field(None, ge=1, description="optimiser steps, instead of epochs")
    batch_size: int | None = Field(
        None, ge=1, description="rows per step; unset: the recipe's, or fewer so that an epoch has 20 steps"
    )
    lr: float = Field(8e-5, gt=0, description="peak learning rate, then half a cosine down to 0")
    warmup: float = Field(0.05, ge=0, le=0.1, description="share of the steps that warm up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decay of matrices")
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's two averages")
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: no clipping")
    evaluations: int = Field(10, ge=1, description="how often the held-out rows are looked at; the best one is kept")

    def batch(self, epoch: int) -> int:
        """Rows per step, of `epoch` training rows."""
        return self.batch_size or min(self.usual_batch, max(1, epoch // _LEAST_STEPS_AN_EPOCH))


class Lora(Options):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) instead of all weights, and the markers' own rows."""

    rank: int = Field(16, ge=1, description="rank of each adapter")
    alpha: float = Field(32, gt=0, description="scale of the adapters is alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on what an adapter reads")
    targets: str | tuple[str, ...] = Field(
        "all-linear",
        description="modules with adapters, as peft names them; all-linear: of Mamba those that can be adapted, with "
        "embedding and head",
    )


class RunOptions(Options):
    """What holds for all stages of a run."""

    lora: Lora | None = Field(None, description="adapters; none: all weights are trained")
    validation: float = Field(0.02, gt=0, lt=1, description="share of the records that is held out")
    rows_at_once: int = Field(1, ge=1, description="rows that a device takes at once; the rest accumulates")
    eval_rows: int = Field(64, ge=1, description="held-out rows of one evaluation")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 on an accelerator")
    checkpointing: bool = Field(True, description="compute layers again on the way back, to save memory")
    shard: bool = Field(False, description="cut weights over the processes (FSDP2) instead of copying them")
    checkpoint_every: int = Field(50, ge=1, description="steps between two checkpoints")
    device: Literal["auto", "cpu"] = Field("auto", description="auto: an accelerator where there is one")
    seed: int = Field(42, ge=0, description="order of the rows, and adapters' initial weights")

    def training(self, stage: StageOptions, epoch: int, processes: int, *, on_accelerator: bool) -> TrainConfig:
        """A stage as the training loop takes it.

        Args:
            epoch: training rows.
        """
        share = processes * self.rows_at_once
        batch = -(-stage.batch(epoch) // share) * share
        steps = stage.steps or max(1, math.ceil(stage.epochs * epoch / batch))
        precision = ("bf16" if on_accelerator else "fp32") if self.precision == "auto" else self.precision
        return TrainConfig(
            steps=steps,
            batch_size=batch,
            accumulation=batch // share,
            lr=stage.lr,
            warmup=round(stage.warmup * steps),
            weight_decay=stage.weight_decay,
            betas=stage.betas,
            clip=stage.clip,
            precision=precision,
            checkpointing=self.checkpointing,
            shard=self.shard,
            device=self.device,
            eval_every=max(1, steps // stage.evaluations),
            eval_rows=self.eval_rows,
            checkpoint_every=self.checkpoint_every,
            seed=self.seed,
        )
