"""Everything that decides what a build of recall data makes of an example, and what of that makes up its rows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from mnemic.teaching.rwr.evidence import Method, Replacement

__all__ = ["MixtureRules", "RecallOptions"]


class RecallOptions(BaseModel):
    """Defaults are the paper's where they are known (arXiv 2505.03320)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_length: int = Field(6000, ge=1, description="most tokens of context, query and answer")
    max_note_tokens: int = Field(512, ge=1, description="most tokens of a note")
    verify: bool = Field(True, description="let the verifier judge notes in which the answer does not stand as it is")
    method: Method = Field("string", description="how evidence is found: by its words, or also by the teacher")
    replacement: Replacement = Field("distractor", description="what stands where evidence stood: other words, nothing")
    most_removed: float = Field(0.5, gt=0, le=1, description="share of passages above which an answer is everywhere")
    distractor_contexts: int = Field(200, ge=1, description="contexts, from the first, that distractors are taken from")
    tokens: str | None = Field(None, description="tokenizer.json or model whose tokens are counted; none: by rule")
    max_reply_tokens: int | None = Field(None, ge=1, description="limit of a reply, thinking included")
    seed: int = Field(0, description="of the choice of distractors")


class MixtureRules(BaseModel):
    """Which rows are taken of what was built. They may change without anything being built anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    empty_ratio: float = Field(0.3, ge=0, le=1, description="share of empty notes among all notes")
    plain_ratio: float = Field(0.5, ge=0, le=1, description="share of rows without a note among all rows")
    seed: int = Field(0, description="of the draw and of the order of the rows")
