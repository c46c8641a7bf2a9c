"""Notes: what a teacher finds in a context about a query.

Source: Recall with Reasoning (arXiv 2505.03320), s = L(c, q).
"""

from __future__ import annotations

from typing import Any

from mnemic.llm import LLM
from mnemic.teaching.records import forbidden_in
from mnemic.teaching.rwr.canon import EMPTY, is_empty_note
from mnemic.teaching.rwr.prompts import NOTE, ask_for_note

__all__ = ["NOTE_TAG", "write_note"]

NOTE_TAG = "recall-note"


def write_note(context: str, query: str, teacher: LLM, max_tokens: int | None = None) -> str:
    """The teacher's note on one line; whatever way it says that there is nothing, that is `EMPTY`.

    Raises:
        LLMError: there was no usable reply.
    """
    messages = ask_for_note(context, query)
    reply = teacher.complete(messages, response_schema=NOTE, check=_about_note, max_tokens=max_tokens, tag=NOTE_TAG)
    assert reply.parsed is not None  # a schema was given
    note = " ".join(str(reply.parsed["summary"]).split())
    return EMPTY if is_empty_note(note) else note


def _about_note(parsed: Any) -> str | None:
    note = parsed["summary"]
    if not note.strip():
        return f"the note is blank; one that holds nothing is the word {EMPTY}"
    if found := forbidden_in(note):
        return f"the note contains {found}, which must not stand in it"
    try:
        note.encode()
    except UnicodeEncodeError:
        return "the note contains half a surrogate pair, which is no text"
    return None
