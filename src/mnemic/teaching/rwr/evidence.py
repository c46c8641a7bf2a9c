"""Contexts without their answer: every passage that holds it is found, and replaced or dropped.

Source: Recall with Reasoning (arXiv 2505.03320), c_r = L(c, q, a). That what goes is replaced by as many words of
something else is ours: a model would otherwise learn that short contexts hold nothing.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Literal

from mnemic.llm import LLM
from mnemic.teaching.pipeline import Dropped
from mnemic.teaching.rwr.prompts import ask_for_evidence, evidence_schema
from mnemic.teaching.rwr.verification import holds

__all__ = ["EVIDENCE_TAG", "Distractors", "Method", "Replacement", "passages_of", "remove_evidence"]

EVIDENCE_TAG = "recall-evidence"

Method = Literal["string", "llm"]
Replacement = Literal["distractor", "drop"]
Span = tuple[int, int]

# A line, or where lines are long a sentence of it; each with the white space behind it.
_LINE = re.compile(r"[^\n]*(?:\n\s*|\Z)")
_SENTENCE = re.compile(r".+?(?:[.!?][\"'”’)\]]*\s+|\Z)", re.DOTALL)
_LONG_LINE = 400
_NEAREST = 8


def passages_of(text: str) -> list[Span]:
    """Lines of a text, long ones sentence by sentence, as spans that together are the whole text."""
    spans: list[Span] = []
    for line in _LINE.finditer(text):
        if not line[0]:
            continue
        if len(line[0]) <= _LONG_LINE:
            spans.append(line.span())
        else:
            spans += [piece.span() for piece in _SENTENCE.finditer(text, line.start(), line.end())]
    return spans


class Distractors:
    """Passages of other contexts, to stand where evidence stood."""

    def __init__(self, contexts: Iterable[str]) -> None:
        pieces = {context[a:b].strip() for context in contexts for a, b in passages_of(context)}
        # equal lengths in a fixed order: sets have none of their own
        self._passages = sorted((piece for piece in pieces if piece.split()), key=lambda p: (len(p.split()), p))
        self._lengths = [len(piece.split()) for piece in self._passages]

    def like(self, passage: str, context: str, answers: Sequence[str], rng: random.Random) -> str:
        """Something else with as many words, and the white space around it, as a passage has.

        Raises:
            Dropped: "no_distractor": all passages hold the answer or are of the context itself.
        """
        wanted = len(passage.split())
        words: list[str] = []
        while len(words) < wanted:
            piece = self._one(wanted - len(words), context, answers, rng)
            if piece is None:
                raise Dropped("no_distractor: no passage of another context is without the answer")
            words += piece.split()
        cut = " ".join(words[:wanted]) if len(words) > wanted else " ".join(words)
        head = passage[: len(passage) - len(passage.lstrip())]
        return head + cut + passage[len(passage.rstrip()) :]

    def _one(self, length: int, context: str, answers: Sequence[str], rng: random.Random) -> str | None:
        """One of the passages that come nearest in length."""
        high = bisect_left(self._lengths, length)
        low = high - 1
        found: list[str] = []
        while len(found) < _NEAREST and (low >= 0 or high < len(self._passages)):
            up = high < len(self._passages) and (low < 0 or self._lengths[high] - length <= length - self._lengths[low])
            piece = self._passages[high if up else low]
            low, high = (low, high + 1) if up else (low - 1, high)
            if piece not in context and not any(holds(piece, answer) for answer in answers):
                found.append(piece)
        return rng.choice(found) if found else None


def remove_evidence(
    context: str,
    query: str,
    answers: Sequence[str],
    *,
    method: Method = "string",
    replacement: Replacement = "distractor",
    distractors: Distractors,
    most_removed: float = 0.5,
    rng: random.Random,
    llm: LLM | None = None,
    max_tokens: int | None = None,
) -> str:
    """The context without any passage that holds the answer.

    Args:
        answers: the answer and its other spellings.
        method: "llm" lets a model name passages, beside those in which the words of an answer stand.
        most_removed: share of the passages above which the answer counts as being everywhere.

    Raises:
        Dropped: "answer_not_in_context", "answer_everywhere", "answer_across_passages" or "no_distractor".
    """
    spans = passages_of(context)
    pieces = [context[a:b] for a, b in spans]
    found = {number for number, piece in enumerate(pieces) if any(holds(piece, answer) for answer in answers)}
    if method == "llm" and pieces:
        assert llm is not None
        messages = ask_for_evidence(pieces, query, answers[0])
        schema = evidence_schema(len(pieces))
        reply = llm.complete(messages, response_schema=schema, max_tokens=max_tokens, tag=EVIDENCE_TAG)
        assert reply.parsed is not None  # a schema was given
        found |= set(reply.parsed["passages"])
    if not found:
        raise Dropped("answer_not_in_context: no passage holds the answer")
    if len(found) > most_removed * len(pieces) or len(found) == len(pieces):
        raise Dropped(f"answer_everywhere: it stands in {len(found)} of {len(pieces)} passages")
    for number in sorted(found):
        whole = replacement == "distractor"
        pieces[number] = distractors.like(pieces[number], context, answers, rng) if whole else ""
    reduced = "".join(pieces)
    if any(holds(reduced, answer) for answer in answers):
        raise Dropped("answer_across_passages: its words stand on both sides of the end of a line or sentence")
    return reduced
