"""Which built traces are good enough to teach from. The paper does not say how it filtered 320K down to 228K (stage 5
of its data pipeline, arXiv 2604.09852); the defaults are ours."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from mnemic.teaching.memento.writing import Memento

__all__ = ["FilterRules", "why_dropped"]


class FilterRules(BaseModel):
    """The least that a trace must reach. One with a failed call, or a marker in a memento, never comes this far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_block_score: float = Field(6.0, ge=0, le=10, description="least score of any memento")
    min_mean_score: float = Field(8.0, ge=0, le=10, description="least mean score of a trace's mementos")
    max_ratio: float = Field(0.6, gt=0, description="most tokens of all mementos by tokens of all blocks")


def why_dropped(mementos: Sequence[Memento], block_tokens: Sequence[int], rules: FilterRules) -> str | None:
    """ "reason: details" of the first rule that a trace does not meet, None when it meets all."""
    scores = [memento.score for memento in mementos]
    worst, mean = min(scores), sum(scores) / len(scores)
    ratio = sum(memento.tokens for memento in mementos) / max(sum(block_tokens), 1)
    if worst < rules.min_block_score:
        return f"block_score: memento {scores.index(worst)} has {worst:g}, least is {rules.min_block_score:g}"
    if mean < rules.min_mean_score:
        return f"mean_score: the mementos have {mean:.2f} on average, least is {rules.min_mean_score:g}"
    if ratio > rules.max_ratio:
        return f"ratio: the mementos have {ratio:.2f} of the blocks' tokens, most is {rules.max_ratio:g}"
    return None
