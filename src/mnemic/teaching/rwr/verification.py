"""Whether a note holds the answer: a comparison of words that costs nothing, and a model for what that leaves open.

Source: Recall with Reasoning (arXiv 2505.03320): a verifier model judges; the free check before it is ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from mnemic.llm import LLM
from mnemic.teaching.records import Verified
from mnemic.teaching.rwr.prompts import HOLDS, ask_whether_note_holds

__all__ = ["F1_ENOUGH", "VERIFY_TAG", "holds", "overlap", "verify_free", "verify_note", "words_of"]

VERIFY_TAG = "recall-verify"
F1_ENOUGH = 0.7

_WORD = re.compile(r"\d+(?:[.,:]\d+)+|\w+")
_ARTICLES = frozenset(("a", "an", "the"))


def words_of(text: str) -> list[str]:
    """Words in small letters, without punctuation and articles. An article alone is a word: an answer may be "A"."""
    words = _WORD.findall(text.casefold().replace("_", " "))
    return [word for word in words if word not in _ARTICLES] or words


def holds(text: str, answer: str) -> bool:
    """Whether the words of an answer stand in a text, one after the other: "7" is not in "17"."""
    wanted = words_of(answer)
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words_of(text))} "


def overlap(text: str, answer: str) -> float:
    """F1 of the words of two texts, each counted as often as it occurs."""
    said, wanted = Counter(words_of(text)), Counter(words_of(answer))
    common = (said & wanted).total()
    return 2 * common / (said.total() + wanted.total()) if common else 0.0


def verify_free(note: str, answers: Sequence[str]) -> Verified:
    """Judge without a model.

    Args:
        answers: the answer and its other spellings; one that fits is enough.
    """
    if any(holds(note, answer) for answer in answers):
        return Verified(method="contains", score=1.0, ok=True)
    score = max((overlap(note, answer) for answer in answers), default=0.0)
    return Verified(method="f1", score=score, ok=score >= F1_ENOUGH)


def verify_note(
    query: str, note: str, answers: Sequence[str], verifier: LLM | None, max_tokens: int | None = None
) -> Verified:
    """Judge, and let a model judge what words alone do not show.

    Args:
        verifier: None leaves the word of the free check as the last.
    """
    found = verify_free(note, answers)
    if found.ok or verifier is None:
        return found
    messages = ask_whether_note_holds(query, note, answers[0])
    reply = verifier.complete(messages, response_schema=HOLDS, max_tokens=max_tokens, tag=VERIFY_TAG)
    assert reply.parsed is not None  # a schema was given
    ok = bool(reply.parsed["holds"])
    return Verified(method="llm", score=float(ok), ok=ok)
