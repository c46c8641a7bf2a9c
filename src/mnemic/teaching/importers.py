"""Traces from elsewhere: chats, OpenThoughts, OpenMementos, and our own records.

Every row gives one record. A row that cannot be used gives a failed one, so that reports can count it with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mnemic.teaching.records import TRACE, Message, Meta, Segment, TraceRecord
from mnemic.teaching.row_formats import RowFormats, Unusable, row_meta, row_name
from mnemic.teaching.sources import Row

__all__ = ["from_rows", "import_row", "read_traces"]

_OPEN, _CLOSE = "<think>", "</think>"
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_GROUP = re.compile(
    r"<\|block_start\|>(?P<block>.*?)<\|block_end\|>(?P<gap>\s*)<\|summary_start\|>(?P<memento>.*?)<\|summary_end\|>",
    re.DOTALL,
)


def _trace(row: Row, source: str) -> TraceRecord:
    return TraceRecord.model_validate(row)


def _chat(row: Row, source: str) -> TraceRecord:
    """`messages` whose last turn is the assistant's, with <think>…</think> in it or a field reasoning_content."""
    turns = row["messages"]
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, Mapping) for turn in turns):
        raise Unusable("bad_row: messages is no list of turns")
    *before, last = turns
    if last.get("role") != "assistant":
        raise Unusable(f"no_answer: the last turn is of role {last.get('role')!r}, not of the assistant")
    thought = last.get("reasoning_content") or last.get("reasoning")
    content = _content(last.get("content"))
    reasoning, answer = (thought, content) if isinstance(thought, str) else _split(content)
    prompt = [Message(role=str(turn.get("role")), content=_said(turn)) for turn in before]
    return _plain(row, source, prompt, reasoning, answer)


def _said(turn: Mapping[str, Any]) -> str:
    """What a turn of the prompt says; reasoning of earlier turns is left out, as chat templates do."""
    content = _content(turn.get("content"))
    return content.rpartition(_CLOSE)[2].lstrip() if turn.get("role") == "assistant" else content


def _content(content: Any) -> str:
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
    if not isinstance(content, str):
        raise Unusable("bad_row: the content of a turn is not text")
    return content


def _open_thoughts(row: Row, source: str) -> TraceRecord:
    """`conversations` of turns {from: human | gpt, value}."""
    turns = row["conversations"]
    if not isinstance(turns, list) or not turns:
        raise Unusable("bad_row: conversations is no list of turns")
    said: list[tuple[str, str]] = []
    for turn in turns:
        role = _ROLES.get(str(turn.get("from", turn.get("role")))) if isinstance(turn, Mapping) else None
        value = turn.get("value", turn.get("content")) if role else None
        if role is None or not isinstance(value, str):
            raise Unusable("bad_row: a turn of conversations is not {from: human or gpt, value: text}")
        said.append((role, value))
    *before, (role, response) = said
    if role != "assistant":
        raise Unusable(f"no_answer: the last turn is from {role}, not from gpt")
    return _plain(row, source, [Message(role=r, content=text) for r, text in before], *_split(response))


def _open_mementos(row: Row, source: str) -> TraceRecord:
    """`problem`, and `response` with the four markers in its reasoning."""
    problem, response = row["problem"], row["response"]
    if not isinstance(problem, str) or not isinstance(response, str):
        raise Unusable("bad_row: problem or response is not text")
    reasoning, answer = _split(response)
    segments: list[Segment] = []
    end = 0
    for number, group in enumerate(_GROUP.finditer(reasoning)):
        segments += _other(reasoning[end : group.start()])
        segments.append(Segment(kind="block", text=group["block"], block=number))
        segments += _other(group["gap"])
        segments.append(Segment(kind="memento", text=group["memento"], block=number))
        end = group.end()
    segments += _other(reasoning[end:])
    prompt = (Message(role="user", content=problem),)
    return TraceRecord(
        id=row_name(row, problem, response),
        prompt=prompt,
        segments=tuple(segments),
        answer=answer,
        meta=row_meta(row, source),
    )


def _other(text: str) -> list[Segment]:
    return [Segment(kind="other", text=text)] if text else []


def _split(response: str) -> tuple[str, str]:
    """Reasoning and answer of one text; the opening tag may be missing, as some templates put it into the prompt."""
    before, tag, answer = response.partition(_CLOSE)
    if not tag:
        raise Unusable("no_think_end: there is no </think>; the reasoning was cut off or is not there")
    lead, tag, reasoning = before.rpartition(_OPEN)
    if lead.strip():
        raise Unusable("text_before_think: text stands before <think>")
    return reasoning, answer


def _plain(row: Row, source: str, prompt: list[Message], reasoning: str, answer: str) -> TraceRecord:
    if not any(turn.content.strip() for turn in prompt):
        raise Unusable("no_prompt: there is no question before the answer")
    if not reasoning.strip():
        raise Unusable("no_reasoning: the reasoning is empty")
    name = row_name(row, *(turn.content for turn in prompt), reasoning, answer)
    segments = (Segment(kind="other", text=reasoning),)
    return TraceRecord(id=name, prompt=tuple(prompt), segments=segments, answer=answer, meta=row_meta(row, source))


def _unusable(name: str, source: str, error: str) -> TraceRecord:
    return TraceRecord(
        id=name, prompt=(), segments=(), answer="", meta=Meta(source=source), status="failed", error=error
    )


_FORMATS: RowFormats[TraceRecord] = RowFormats(
    kind=TraceRecord,
    makers=MappingProxyType(
        {"trace": _trace, "chat": _chat, "open-thoughts": _open_thoughts, "open-mementos": _open_mementos}
    ),
    columns=MappingProxyType(
        {
            "chat": frozenset({"messages"}),
            "open-thoughts": frozenset({"conversations"}),
            "open-mementos": frozenset({"problem", "response"}),
        }
    ),
    unusable=_unusable,
    # What the record itself finds wrong; see `records`.
    own_codes=frozenset(
        (
            "marker_leak", "memento_order", "memento_missing", "memento_empty", "block_number", "block_empty",
            "not_unicode", "status",
        )
    ),
    schemas=MappingProxyType({TRACE: "trace"}),
)  # fmt: skip

read_traces, from_rows, import_row = _FORMATS.read, _FORMATS.of, _FORMATS.record
