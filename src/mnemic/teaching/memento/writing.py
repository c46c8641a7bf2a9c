"""Mementos of a trace's blocks: written in one call, judged one by one, written again with the judge's feedback.

Source: MEMENTO (arXiv 2604.09852), stage 4. A call that fails makes the trace fail; nothing stands in for a memento.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mnemic.llm import LLM
from mnemic.teaching.memento.prompts import (
    JUDGED,
    ask_judgement,
    ask_mementos,
    ask_refinement,
    refined_schema,
    summaries_schema,
)
from mnemic.teaching.records import forbidden_in
from mnemic.teaching.tokens import TokenCounter

__all__ = [
    "JUDGEMENT_TAG",
    "MEMENTO_TAG",
    "REFINEMENT_TAG",
    "Attempt",
    "Memento",
    "WritingRules",
    "write_mementos",
]

MEMENTO_TAG = "memento-summaries"
JUDGEMENT_TAG = "memento-judgement"
REFINEMENT_TAG = "memento-refinement"


class WritingRules(BaseModel):
    """How long mementos are worked on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(2, ge=1, description="judgements of a memento at most; it is refined between them")
    threshold: float = Field(8.0, ge=0, le=10, description="score of the judge at which a memento is good enough")
    max_tokens: int | None = Field(None, ge=1, description="limit of a reply, thinking included; none: the server's")


class Attempt(BaseModel):
    """One round: what was judged, and what the judge said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: int = Field(description="from 1")
    summary: str = Field(description="the memento of this round")
    score: float = Field(description="0 to 10")
    feedback: tuple[str, ...] = Field(description="changes that the judge wants")
    tokens: int = Field(description="tokens of the memento")
    ratio: float = Field(description="tokens of the memento by those of the block")


class Memento(BaseModel):
    """The best of the attempts at one block, and all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    score: float
    tokens: int
    history: tuple[Attempt, ...]


def write_mementos(
    problem: str,
    blocks: Sequence[str],
    llm: LLM,
    counter: TokenCounter,
    *,
    rules: WritingRules | None = None,
    judge: LLM | None = None,
) -> list[Memento]:
    """One memento per block.

    Args:
        problem: what the trace is about, so that the teacher understands the blocks.
        judge: scores the mementos; the teacher itself by default.

    Raises:
        BadReply: a reply was not as asked, markers in a memento included, after it was asked for again.
    """
    rules = rules or WritingRules()
    reply = llm.complete(
        ask_mementos(problem, blocks),
        response_schema=summaries_schema(len(blocks)),
        check=lambda parsed: _about_summaries(parsed["summaries"], len(blocks)),
        max_tokens=rules.max_tokens,
        tag=MEMENTO_TAG,
    )
    drafts: list[str] = reply.parsed["summaries"] if reply.parsed else []
    return [
        _improved(block, draft.strip(), llm, judge or llm, counter, rules)
        for block, draft in zip(blocks, drafts, strict=True)
    ]


def _improved(block: str, draft: str, llm: LLM, judge: LLM, counter: TokenCounter, rules: WritingRules) -> Memento:
    length = max(counter.count(block), 1)
    history: list[Attempt] = []
    for number in range(1, rules.rounds + 1):
        score, feedback = _judged(block, draft, judge, rules)
        tokens = counter.count(draft)
        history.append(
            Attempt(round=number, summary=draft, score=score, feedback=feedback, tokens=tokens, ratio=tokens / length)
        )
        if score >= rules.threshold or number == rules.rounds:
            break
        draft = _refined(block, draft, feedback, llm, rules)
    best = max(history, key=lambda attempt: (attempt.score, -attempt.tokens))
    return Memento(text=best.summary, score=best.score, tokens=best.tokens, history=tuple(history))


def _judged(block: str, memento: str, judge: LLM, rules: WritingRules) -> tuple[float, tuple[str, ...]]:
    parsed = _asked(judge, ask_judgement(block, memento), JUDGED, _about_judgement, JUDGEMENT_TAG, rules)
    return float(parsed["score"]), tuple(change.strip() for change in parsed["feedback"] if change.strip())


def _refined(block: str, memento: str, feedback: Sequence[str], llm: LLM, rules: WritingRules) -> str:
    messages = ask_refinement(block, memento, feedback)
    parsed = _asked(llm, messages, refined_schema(), lambda p: _about_memento(p["summary"]), REFINEMENT_TAG, rules)
    return str(parsed["summary"]).strip()


def _asked(
    llm: LLM,
    messages: list[dict[str, str]],
    schema: dict[str, Any],
    check: Callable[[Any], str | None],
    tag: str,
    rules: WritingRules,
) -> Any:
    reply = llm.complete(messages, response_schema=schema, check=check, max_tokens=rules.max_tokens, tag=tag)
    return reply.parsed


def _about_summaries(summaries: Sequence[str], wanted: int) -> str | None:
    if len(summaries) != wanted:
        return f"there are {wanted} blocks and {len(summaries)} summaries; one for each block is needed"
    if wanted > 1 and len({summary.strip() for summary in summaries}) == 1:
        return "all summaries are the same text; each must be of its own block"
    found = ((number, _about_memento(summary)) for number, summary in enumerate(summaries))
    return next((f"summary {number}: {complaint}" for number, complaint in found if complaint), None)


def _about_memento(text: str) -> str | None:
    if not text.strip():
        return "it is empty"
    if found := forbidden_in(text):
        return f"it contains {found}, which must not stand in a memento"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it contains half a surrogate pair, which is no text"
    return None


def _about_judgement(parsed: Any) -> str | None:
    if parsed["score"] < 10 and not any(change.strip() for change in parsed["feedback"]):
        return "a score below 10 needs feedback: say what to change"
    return None
