"""Which sentences belong together: fragments, introductions, lists, steps of one calculation.

Source: MEMENTO (arXiv 2604.09852), merging after the split (stage 1).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mnemic.teaching.memento.atoms import Span
from mnemic.teaching.tokens import ApproximateTokens

__all__ = ["FEWEST_TOKENS", "MOST_WORDS", "merge"]

FEWEST_TOKENS = 5
MOST_WORDS = 30
MOST_LIST_WORDS = 150  # ours: a trace that is one long list would otherwise be one sentence, and so one block

_CLOSING = re.compile(r"\s*[)\]},;:.!?%”’»]")
_CONTINUES = re.compile(
    r"\s*(?:therefore|thus|so|hence|then|consequently|and|which|giving|where|that is|i\.e\.|or|implies|this gives)\b",
    re.IGNORECASE,
)
_MATH = re.compile(r"[=<>≤≥≠≈±×÷∑∫√^]|\$|\\[A-Za-z(\[]|\d\s*[-+*/]\s*\d|\b[A-Za-z]\s*[-+*/]\s*[A-Za-z\d]\b")
_CODE = re.compile(r"`|\w\(\w*\)|\w\[\w+\]|[{};]|==|!=|->|:=|\w_\w|\+=")
_LIST_ITEM = re.compile(r"\s*(?:[-*•+]\s+|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)]\s+)\S")
_STEP = re.compile(
    r"\s*(?:step\s+\d+\b|(?:if|for|while|else|elif|return|set|let|repeat|until|increment|decrement|call|end)\b.*[:=(←])",
    re.IGNORECASE,
)

_tokens = ApproximateTokens()


def merge(text: str, spans: list[Span]) -> list[Span]:
    """Join neighbours that a boundary should not part. Never moves an end of a span, so nothing is lost."""
    spans = _fragments(text, spans)
    for together in (_introduces, _concludes, _list_items, _steps, _short_math):
        spans = _joined(text, spans, together)
    return spans


def _fragments(text: str, spans: list[Span]) -> list[Span]:
    """A piece that starts with closing punctuation or has too few tokens goes to the one before it."""
    out: list[Span] = []
    for span in spans:
        piece = span.of(text)
        if out and (_CLOSING.match(piece) or _tokens.count(piece.strip()) < FEWEST_TOKENS):
            out[-1] = Span(out[-1].start, span.end)
        else:
            out.append(span)
    if len(out) > 1 and _tokens.count(out[0].of(text).strip()) < FEWEST_TOKENS:
        out[:2] = [Span(out[0].start, out[1].end)]  # the first has none before it
    return out


def _joined(text: str, spans: list[Span], together: Callable[[str, str, str], bool]) -> list[Span]:
    """Join each span with the run before it if `together(run, last piece of the run, piece)`."""
    out: list[Span] = []
    last = ""
    for span in spans:
        piece = span.of(text)
        if out and together(out[-1].of(text), last, piece):
            out[-1] = Span(out[-1].start, span.end)
        else:
            out.append(span)
        last = piece
    return out


def _introduces(run: str, last: str, piece: str) -> bool:
    return run.rstrip().rstrip("*_").endswith(":")


def _concludes(run: str, last: str, piece: str) -> bool:
    return (
        bool(_CONTINUES.match(piece) and _MATH.search(last) and _MATH.search(piece)) and _words(run) <= MOST_LIST_WORDS
    )


def _list_items(run: str, last: str, piece: str) -> bool:
    return bool(_LIST_ITEM.match(last) and _LIST_ITEM.match(piece)) and _words(run) + _words(piece) <= MOST_LIST_WORDS


def _steps(run: str, last: str, piece: str) -> bool:
    return bool(_STEP.match(last) and _STEP.match(piece)) and _words(run) + _words(piece) <= MOST_LIST_WORDS


def _short_math(run: str, last: str, piece: str) -> bool:
    return _words(run) <= MOST_WORDS and _words(piece) <= MOST_WORDS and _technical(last) and _technical(piece)


def _technical(piece: str) -> bool:
    return bool(_MATH.search(piece) or _CODE.search(piece))


def _words(piece: str) -> int:
    return len(piece.split())
