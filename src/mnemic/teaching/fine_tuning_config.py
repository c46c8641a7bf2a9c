"""The recipe of MEMENTO's fine-tuning, and what may be changed about it.

Source: Kontonis et al. 2026 (arXiv 2604.09852), training: two stages of equal settings, the first under full attention
to learn the format, the second under memento attention from the first one's best checkpoint.
"""

from typing import Literal

from pydantic import Field, model_validator

from mnemic.teaching.memento.rules import MementoRules
from mnemic.teaching.trace_rows import Attention, RowOptions
from mnemic.teaching.tuning_options import Lora, RunOptions, StageOptions

__all__ = ["FineTuneConfig", "Lora", "Stage"]


class Stage(StageOptions):
    """One stage; unset options are the paper's."""

    attention: Attention = Field(description="full: learn the format; memento: learn to do without blocks; restart: "
                                 "mementos recomputed; plain: the control, raw traces")  # fmt: skip


class FineTuneConfig(RunOptions):
    """Everything that decides a fine-tuning, beside model, tokenizer and traces."""

    stages: tuple[Stage, ...] = Field(
        (Stage(attention="full"), Stage(attention="memento")), min_length=1, description="in order, each from the last"
    )
    rules: MementoRules = Field(MementoRules(), description="what memento attention hides")
    max_length: int = Field(32_768, ge=8, description="tokens of the longest row")
    loss_on_blocks: bool = Field(True, description="train what stands inside blocks")
    pack: bool | None = Field(None, description="several traces in a row; unset: where the model runs flex_attention")
    choose_by: Literal["loss", "answers"] = Field(
        "loss", description="what makes an evaluation the best: held-out loss, or right answers by generation"
    )
    max_new_tokens: int = Field(4096, ge=1, description="tokens of a generated answer, for choose_by=answers")

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
