"""The two words that say "there is nothing": one for notes, one for answers, so that abstention can be counted."""

from __future__ import annotations

from typing import Final

__all__ = ["EMPTY", "UNANSWERABLE", "is_abstention", "is_empty_note"]

EMPTY: Final = "empty"
UNANSWERABLE: Final = "unanswerable"

_AROUND = " \t\r\n.!*_`'\"()[]"


def is_empty_note(text: str) -> bool:
    """Whether a note says that nothing relevant was found; one without any text says so too."""
    return _bare(text) in ("", EMPTY)


def is_abstention(text: str) -> bool:
    """Whether an answer is the one word for "cannot be answered", punctuation and case aside."""
    return _bare(text) == UNANSWERABLE


def _bare(text: str) -> str:
    return text.strip(_AROUND).casefold()
