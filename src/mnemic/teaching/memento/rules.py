"""What is dropped and when: MEMENTO's options, and who wrote a token.

Source: Kontonis et al. 2026 (arXiv 2604.09852), section on block masking, and the options of its released overlay.
"""

from enum import IntEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["MarkerIds", "MementoRules", "Role"]


class Role(IntEnum):
    """Who wrote a token, and so what may happen to it."""

    PROTECTED = 0
    """System and user text: never evicted, its markers never obeyed, and no block reaches across it."""
    OBSERVED = 1
    """What a tool returned: evicted with the block around it, its markers never obeyed."""
    ASSISTANT = 2
    """What the model wrote: its markers are obeyed."""


class MarkerIds(NamedTuple):
    """The token ids of the four markers."""

    block_start: int
    block_end: int
    summary_start: int
    summary_end: int


class MementoRules(BaseModel):
    """Which keys a memento replaces, and when they go. The defaults are the release's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_last_n_blocks: int = Field(
        0, ge=-1, description="summarised blocks that stay visible, the newest; -1: all, nothing is ever evicted"
    )
    mask_delimiters: bool = Field(
        False, description="the markers around a block go with it (Phi-4); otherwise they stay (Qwen3, Olmo 3)"
    )
    keep_last_block_for_answer: bool = Field(
        False, description="a summarised block goes only when the next one starts, so the answer still sees the last"
    )
    restart: bool = Field(
        False,
        description="recompute a memento's keys without its block, so that only its text carries anything over; "
        "the paper's ablation also drops the markers, which mask_delimiters does",
    )
    max_block_tokens: int = Field(0, ge=0, description="tokens after which a block is closed by force; 0: never")

    @model_validator(mode="after")
    def _agree(self) -> "MementoRules":
        if self.keep_last_block_for_answer and self.keep_last_n_blocks != 0:
            raise ValueError(f"keep_last_block_for_answer needs keep_last_n_blocks=0; it is {self.keep_last_n_blocks}")
        if self.restart and (self.keep_last_n_blocks != 0 or self.keep_last_block_for_answer):
            raise ValueError(
                "restart drops a block when its memento ends; it needs keep_last_n_blocks=0 "
                "and keep_last_block_for_answer=False"
            )
        return self
