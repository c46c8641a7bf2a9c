"""Everything that decides what a MEMENTO build makes of a trace."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from mnemic.teaching.memento.filters import FilterRules
from mnemic.teaching.memento.segmentation import Method
from mnemic.teaching.memento.writing import WritingRules

__all__ = ["BuildOptions"]


class BuildOptions(BaseModel):
    """Defaults are the paper's where it gives them (arXiv 2604.09852)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    two_pass: bool = Field(False, description="score boundaries twice, in windows of 16 and 11, and take the mean")
    min_tokens: int = Field(200, ge=1, description="least tokens of a block")
    weight: float = Field(0.5, ge=0, description="of uneven block lengths against boundary scores")
    method: Method = Field("exact", description="exact, or greedy_dp as the released code does it")
    tokens: str | None = Field(None, description="tokenizer.json or model whose tokens are counted; none: by rule")
    writing: WritingRules = Field(WritingRules(), description="how mementos are written")
    filter: FilterRules = Field(FilterRules(), description="which traces are kept")
