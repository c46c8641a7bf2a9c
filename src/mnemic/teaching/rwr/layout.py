"""How a context, a question, a note and an answer stand in one text: the same in training, answering and evaluation.

Prompt: `<context> … </context> <query> … </query>` and an instruction that says which of note and answer is wanted.
Target: `Summary: …` on one line, then `Answer: …` to the end; rows without a note are `Answer: …` alone.
Source: Recall with Reasoning (arXiv 2505.03320); the layout is our reading of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

from mnemic.errors import UsageError, nearest
from mnemic.teaching.rwr.canon import EMPTY, UNANSWERABLE, is_abstention, is_empty_note

__all__ = ["MODES", "QUERY_POSITIONS", "Mode", "QueryPosition", "Reply", "parse_reply", "prompt_parts", "prompt_text",
           "target_text"]  # fmt: skip

Mode = Literal["summary+answer", "summary", "answer"]
QueryPosition = Literal["after", "before", "both"]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
QUERY_POSITIONS: Final[tuple[QueryPosition, ...]] = get_args(QueryPosition)

_INSTRUCTIONS = MappingProxyType(
    {
        "summary+answer": (
            "Note first what the context says that bears on the query, as 'Summary: ...' on one line "
            f"('Summary: {EMPTY}' if it says nothing), then answer from that note, as 'Answer: ...' "
            f"('Answer: {UNANSWERABLE}' if the note does not hold the answer)."
        ),
        "summary": (
            "Note what the context says that bears on the query, as 'Summary: ...' on one line "
            f"('Summary: {EMPTY}' if it says nothing). Do not answer."
        ),
        "answer": f"Answer at once, as 'Answer: ...' ('Answer: {UNANSWERABLE}' if the context does not say).",
    }
)

_LABEL = re.compile(r"^[ \t]*(summary|answer)[ \t]*:", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Reply:
    """What a model wrote.

    Attributes:
        summary, answer: None where it wrote none.
        is_empty: the note says that nothing was found.
        is_abstention: the answer says that there is none.
    """

    summary: str | None
    answer: str | None
    is_empty: bool = False
    is_abstention: bool = False


def prompt_parts(context: str, query: str, *, mode: Mode, query_position: QueryPosition = "after") -> tuple[str, str]:
    """The prompt in two: what is read up to the end of the context, and what follows it.

    With the query after the context the first part depends on the context alone, so that a state which has read it
    serves all questions.
    """
    _check(mode, query_position)
    instruction = _INSTRUCTIONS[mode]
    asked = f"<query>\n{query.strip()}\n</query>\n{instruction}\n"
    read = f"<context>\n{context.strip()}\n</context>\n"
    return (read if query_position == "after" else asked + read), ("" if query_position == "before" else asked)


def prompt_text(context: str, query: str, *, mode: Mode, query_position: QueryPosition = "after") -> str:
    """What a model is given; `target_text` follows it.

    Args:
        query_position: "after" is recall proper, for the state is filled before the query is known; "before" and
            "both" let the model look for the answer as it reads.
    """
    return "".join(prompt_parts(context, query, mode=mode, query_position=query_position))


def target_text(summary: str | None, answer: str | None, *, mode: Mode = "summary+answer") -> str:
    """What a model is to write.

    Args:
        summary: the note; its white space becomes single spaces, so that it is one line. None only in mode "answer".
        answer: None only in mode "summary".

    Raises:
        UsageError: what the mode needs is missing.
    """
    _check(mode, "after")
    lines = []
    if mode != "answer":
        if summary is None or not summary.strip():
            raise UsageError(f"summary: mode '{mode}' needs a note; one that holds nothing is '{EMPTY}'")
        lines.append(f"Summary: {' '.join(summary.split())}")
    if mode != "summary":
        if answer is None or not answer.strip():
            raise UsageError(f"answer: mode '{mode}' needs one; where there is none it is '{UNANSWERABLE}'")
        lines.append(f"Answer: {answer.strip()}")
    return "\n".join(lines)


def parse_reply(text: str, *, mode: Mode = "summary+answer") -> Reply:
    """Note and answer of what a model wrote, whether it was taught the layout or not.

    The first line that begins with "Answer:" begins the answer, which goes to the end; the note is what stands
    between the "Summary:" before it and there.

    Args:
        mode: what was asked for. Text without any label is the note in mode "summary", otherwise the answer.
    """
    _check(mode, "after")
    labels = list(_LABEL.finditer(text))
    if not labels:
        whole = text.strip() or None
        summary, answer = (whole, None) if mode == "summary" else (None, whole)
    else:
        answers = next((label for label in labels if label[1].lower() == "answer"), None)
        end = answers.start() if answers else len(text)
        notes = next((label for label in labels if label[1].lower() == "summary" and label.start() < end), None)
        summary = text[notes.end() : end].strip() if notes else None
        answer = text[answers.end() :].strip() or None if answers else None
    return Reply(
        summary=summary,
        answer=answer,
        is_empty=summary is not None and is_empty_note(summary),
        is_abstention=answer is not None and is_abstention(answer),
    )


def _check(mode: str, query_position: str) -> None:
    if mode not in MODES:
        raise UsageError(f"mode is '{mode}'{nearest(mode, MODES)}")
    if query_position not in QUERY_POSITIONS:
        raise UsageError(f"query_position is '{query_position}'{nearest(query_position, QUERY_POSITIONS)}")
