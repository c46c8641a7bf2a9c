"""The recipe of MEMENTO's fine-tuning, and what may be changed about it.

Source: Kontonis et al. 2026 (arXiv 2604.09852), training: two stages of equal settings, the first under full attention
to learn the format, the second under memento attention from the first one's best checkpoint.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mnemic.teaching.memento.rules import MementoRules
from mnemic.teaching.trace_rows import Attention, RowOptions
from mnemic.training.config import TrainConfig

__all__ = ["FineTuneConfig", "Lora", "Stage"]

_PAPER_BATCH = 512
_LEAST_STEPS_AN_EPOCH = 20


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stage(_Options):
    """One stage; unset options are the paper's."""

    attention: Attention = Field(description="full: learn the format; memento: learn to do without blocks; restart: "
                                 "mementos recomputed; plain: the control, raw traces")  # fmt: skip
    epochs: float = Field(5, gt=0, description="passes over the training rows")
    steps: int | None = Field(None, ge=1, description="optimiser steps, instead of epochs")
    batch_size: int | None = Field(
        None, ge=1, description="rows per step; unset: 512, or fewer so that an epoch has 20 steps"
    )
    lr: float = Field(8e-5, gt=0, description="peak learning rate, then half a cosine down to 0")
    warmup: float = Field(0.05, ge=0, le=0.1, description="share of the steps that warm up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decay of matrices")
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's two averages")
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: no clipping")
    evaluations: int = Field(10, ge=1, description="how often the held-out rows are looked at; the best one is kept")


class Lora(_Options):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) instead of all weights, and the markers' own rows."""

    rank: int = Field(16, ge=1, description="rank of each adapter")
    alpha: float = Field(32, gt=0, description="scale of the adapters is alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on what an adapter reads")
    targets: str | tuple[str, ...] = Field("all-linear", description="modules with adapters, as peft names them")


class FineTuneConfig(_Options):
    """Everything that decides a fine-tuning, beside model, tokenizer and traces."""

    stages: tuple[Stage, ...] = Field(
        (Stage(attention="full"), Stage(attention="memento")), min_length=1, description="in order, each from the last"
    )
    rules: MementoRules = Field(MementoRules(), description="what memento attention hides")
    lora: Lora | None = Field(None, description="adapters; none: all weights are trained")
    max_length: int = Field(32_768, ge=8, description="tokens of the longest row")
    loss_on_blocks: bool = Field(True, description="train what stands inside blocks")
    validation: float = Field(0.02, gt=0, lt=1, description="share of the traces that is held out")
    pack: bool | None = Field(None, description="several traces in a row; unset: where the model runs flex_attention")
    rows_at_once: int = Field(1, ge=1, description="rows that a device takes at once; the rest accumulates")
    choose_by: Literal["loss", "answers"] = Field(
        "loss", description="what makes an evaluation the best: held-out loss, or right answers by generation"
    )
    max_new_tokens: int = Field(4096, ge=1, description="tokens of a generated answer, for choose_by=answers")
    eval_rows: int = Field(64, ge=1, description="held-out rows of one evaluation")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 on an accelerator")
    checkpointing: bool = Field(True, description="compute layers again on the way back, to save memory")
    shard: bool = Field(False, description="cut weights over the processes (FSDP2) instead of copying them")
    checkpoint_every: int = Field(50, ge=1, description="steps between two checkpoints")
    device: Literal["auto", "cpu"] = Field("auto", description="auto: an accelerator where there is one")
    seed: int = Field(42, ge=0, description="order of the rows, and adapters' initial weights")

    @model_validator(mode="after")
    def _control_stands_alone(self) -> "FineTuneConfig":
        kinds = {stage.attention for stage in self.stages}
        if "plain" in kinds and len(kinds) > 1:
            raise ValueError("the control (plain) has no markers to learn; train it by itself, not among other stages")
        if self.rules.restart:
            raise ValueError("rules.restart is for generation; train restarts by a stage with attention: restart")
        return self

    def row_options(self, stage: Stage) -> RowOptions:
        return RowOptions(
            attention=stage.attention, rules=self.rules, max_length=self.max_length, loss_on_blocks=self.loss_on_blocks
        )

    def training(self, stage: Stage, epoch: int, processes: int, *, on_accelerator: bool) -> TrainConfig:
        """A stage as the training loop takes it.

        Args:
            epoch: training rows.
        """
        share = processes * self.rows_at_once
        wanted = stage.batch_size or min(_PAPER_BATCH, max(1, epoch // _LEAST_STEPS_AN_EPOCH))
        batch = -(-wanted // share) * share
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
