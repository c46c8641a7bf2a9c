"""How a model is trained: every choice that decides the result, in one frozen record."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["TUNING_SEED", "TrainConfig"]

TUNING_SEED = 7000  # learning rates are chosen with this seed and judged with others


class TrainConfig(BaseModel):
    """The recipe for small models of design.md, and what may be changed about it.

    `seed` decides the initial weights, the training rows and the validation rows. `batch_size` counts the rows of one
    optimiser step, over all pieces and all processes together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(500, ge=1, description="optimiser steps")
    batch_size: int = Field(64, ge=1, description="rows per optimiser step, all processes together")
    accumulation: int = Field(1, ge=1, description="pieces that a process cuts its share into, to save memory")
    lr: float = Field(3e-3, gt=0, description="peak learning rate")
    final_lr: float = Field(0.0, ge=0, le=1, description="learning rate at the last step, as a share of the peak")
    warmup: int = Field(50, ge=0, description="steps of linear warm-up, at most a tenth of all steps")
    weight_decay: float = Field(0.1, ge=0, description="AdamW's decay of matrices; vectors do not decay")
    betas: tuple[float, float] = Field((0.9, 0.95), description="AdamW's two averages")
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: no clipping")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16 runs the forward pass under autocast")
    compile: bool = Field(False, description="torch.compile the model; costs 12 to 40 s at the start")
    checkpointing: bool = Field(False, description="keep each layer's input only and compute the rest again going back")
    shard: bool = Field(
        False, description="cut weights and averages over the processes (FSDP2) instead of copying them"
    )
    device: Literal["auto", "cpu"] = Field("auto", description="auto: an accelerator where there is one")
    eval_every: int = Field(50, ge=1, description="steps between two evaluations on validation rows")
    eval_rows: int = Field(256, ge=1, description="validation rows of one evaluation")
    stop_at: float | None = Field(None, gt=0, le=1, description="stop when validation accuracy reaches this")
    patience: int | None = Field(None, ge=1, description="stop after this many evaluations without a lower loss")
    checkpoint_every: int = Field(100, ge=1, description="steps between two checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="checkpoints that are kept, the newest")
    seed: int = Field(0, ge=0, description="decides initial weights, training rows and validation rows")

    @model_validator(mode="after")
    def _pieces_fit(self) -> "TrainConfig":
        if self.batch_size % self.accumulation:
            raise ValueError(f"accumulation {self.accumulation} does not divide batch_size {self.batch_size}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}; both must be at least 0 and below 1")
        return self
