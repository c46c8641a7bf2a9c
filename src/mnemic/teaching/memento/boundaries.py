"""Scores of the gaps between sentences, asked of a teacher in windows.

Boundary i lies between sentence i and sentence i+1. Source: MEMENTO (arXiv 2604.09852), stage 2; the second pass with
a window coprime to the first is the released code's: no gap then lies at the rim of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from mnemic.errors import UsageError
from mnemic.llm import LLM
from mnemic.teaching.memento.prompts import ask_boundaries, scores_schema

__all__ = ["BOUNDARY_TAG", "SECOND_WINDOW", "WINDOW", "score_boundaries", "windows"]

WINDOW = 16
SECOND_WINDOW = 11
BOUNDARY_TAG = "memento-boundaries"


def windows(boundaries: int, size: int) -> Iterator[range]:
    """The boundaries in runs of at most `size`."""
    return (range(first, min(first + size, boundaries)) for first in range(0, boundaries, size))


def score_boundaries(
    sentences: Sequence[str],
    llm: LLM,
    *,
    window: int = WINDOW,
    two_pass: bool = False,
    max_tokens: int | None = None,
) -> list[float]:
    """A score of 0 to 3 for each of the `len(sentences) - 1` boundaries; halves with `two_pass`.

    Raises:
        BadReply: the teacher did not give as many scores as were asked for; none are made up.
    """
    if window < 1:
        raise UsageError(f"window is {window}; it must be at least 1")
    scores = _one_pass(sentences, llm, window, max_tokens)
    if not two_pass:
        return scores
    second = _one_pass(sentences, llm, SECOND_WINDOW, max_tokens)
    return [(a + b) / 2 for a, b in zip(scores, second, strict=True)]


def _one_pass(sentences: Sequence[str], llm: LLM, window: int, max_tokens: int | None) -> list[float]:
    scores: list[float] = []
    for run in windows(len(sentences) - 1, window):
        shown = [sentence.strip("\n") for sentence in sentences[run.start : run.stop + 1]]
        reply = llm.complete(
            ask_boundaries(shown, run.start),
            response_schema=scores_schema(len(run)),
            check=partial(_complaint, wanted=len(run)),
            max_tokens=max_tokens,
            tag=BOUNDARY_TAG,
        )
        assert reply.parsed is not None
        scores += map(float, reply.parsed["scores"])
    return scores


def _complaint(parsed: Any, *, wanted: int) -> str | None:
    scores = parsed["scores"]
    if len(scores) != wanted:
        return f"there are {wanted} gaps to score and {len(scores)} scores"
    wrong = [score for score in scores if isinstance(score, bool) or score not in (0, 1, 2, 3)]
    return f"a score is {wrong[0]!r}; each must be 0, 1, 2 or 3" if wrong else None
