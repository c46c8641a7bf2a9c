"""Traces from elsewhere: chats, OpenThoughts, OpenMementos, and our own records.

Every row gives one record. A row that cannot be used gives a failed one, so that reports can count it with its reason.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from mnemic.errors import UsageError, nearest
from mnemic.options import explain
from mnemic.teaching.records import TRACE, Message, Meta, Segment, TraceRecord
from mnemic.teaching.sources import Row, open_shards, rows_of

__all__ = ["FORMATS", "from_rows", "import_row", "read_traces", "recognise", "row_meta", "row_name"]

_OPEN, _CLOSE = "<think>", "</think>"
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_GROUP = re.compile(
    r"<\|block_start\|>(?P<block>.*?)<\|block_end\|>(?P<gap>\s*)<\|summary_start\|>(?P<memento>.*?)<\|summary_end\|>",
    re.DOTALL,
)


class _Unusable(Exception):
    """One row cannot be used; "reason: details"."""


def read_traces(
    source: str, *, format: str | None = None, limit: int | None = None, seed: int = 0, split: str = "train"
) -> Iterator[TraceRecord]:
    """The traces of a source, each id once.

    Args:
        source: see `sources.open_shards`.
        format: one of `FORMATS`; by default what the first row looks like.
        limit: this many, drawn from all shards in turn; by default all, in order.
        seed: of that draw.

    Raises:
        UsageError: the source cannot be read, or its rows are of no known format.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(f"unknown format '{format}'{nearest(format, FORMATS)}")
    yield from from_rows(rows_of(open_shards(source, split), limit, seed), source, format)


def from_rows(rows: Iterable[Row], source: str, format: str | None = None) -> Iterator[TraceRecord]:
    """Records of rows; the second of two rows with one id is a failed record of another id."""
    seen: dict[str, int] = {}
    for row in rows:
        format = format or recognise(row, source)
        record = import_row(row, format, source)
        copies = seen[record.id] = seen.get(record.id, 0) + 1
        if copies > 1:
            twin = record.model_copy(update={"id": f"{record.id}#{copies}"})
            record = twin.failed(f"duplicate_id: {record.id} was there before") if record.status == "ok" else twin
        yield record


def recognise(row: Row, source: str) -> str:
    """The format of a row, by its columns."""
    if row.get("schema") == TRACE:
        return "trace"
    for format, columns in _COLUMNS.items():
        if columns <= row.keys():
            return format
    wanted = "; ".join(f"{format}: {', '.join(sorted(columns))}" for format, columns in _COLUMNS.items())
    raise UsageError(f"the rows of '{source}' have the columns {', '.join(map(str, row))}; known are {wanted}")


def import_row(row: Row, format: str, source: str) -> TraceRecord:
    """The record of one row; failed, with the reason, when it cannot be used."""
    try:
        return FORMATS[format](row, source)
    except _Unusable as reason:
        error = str(reason)
    except KeyError as missing:
        error = f"bad_row: there is no column {missing}"
    except ValidationError as wrong:
        first = wrong.errors()[0]
        code = first["type"] if first["type"] in _OWN_CODES else "bad_row"
        error = f"{code}: {explain('row', TraceRecord, wrong)}"
    name = row_name(row, json.dumps(row, default=str, sort_keys=True))
    return TraceRecord(
        id=name.encode("utf-8", "replace").decode(),
        prompt=(),
        segments=(),
        answer="",
        meta=Meta(source=source),
        status="failed",
        error=error.encode("utf-8", "replace").decode(),
    )


# What the record itself finds wrong; see `records`.
_OWN_CODES = frozenset(
    (
        "marker_leak", "memento_order", "memento_missing", "memento_empty", "block_number", "block_empty",
        "not_unicode", "status",
    )
)  # fmt: skip


def _trace(row: Row, source: str) -> TraceRecord:
    return TraceRecord.model_validate(row)


def _chat(row: Row, source: str) -> TraceRecord:
    """`messages` whose last turn is the assistant's, with <think>…</think> in it or a field reasoning_content."""
    turns = row["messages"]
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, Mapping) for turn in turns):
        raise _Unusable("bad_row: messages is no list of turns")
    *before, last = turns
    if last.get("role") != "assistant":
        raise _Unusable(f"no_answer: the last turn is of role {last.get('role')!r}, not of the assistant")
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
        raise _Unusable("bad_row: the content of a turn is not text")
    return content


def _open_thoughts(row: Row, source: str) -> TraceRecord:
    """`conversations` of turns {from: human | gpt, value}."""
    turns = row["conversations"]
    if not isinstance(turns, list) or not turns:
        raise _Unusable("bad_row: conversations is no list of turns")
    said: list[tuple[str, str]] = []
    for turn in turns:
        role = _ROLES.get(str(turn.get("from", turn.get("role")))) if isinstance(turn, Mapping) else None
        value = turn.get("value", turn.get("content")) if role else None
        if role is None or not isinstance(value, str):
            raise _Unusable("bad_row: a turn of conversations is not {from: human or gpt, value: text}")
        said.append((role, value))
    *before, (role, response) = said
    if role != "assistant":
        raise _Unusable(f"no_answer: the last turn is from {role}, not from gpt")
    return _plain(row, source, [Message(role=r, content=text) for r, text in before], *_split(response))


def _open_mementos(row: Row, source: str) -> TraceRecord:
    """`problem`, and `response` with the four markers in its reasoning."""
    problem, response = row["problem"], row["response"]
    if not isinstance(problem, str) or not isinstance(response, str):
        raise _Unusable("bad_row: problem or response is not text")
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
        raise _Unusable("no_think_end: there is no </think>; the reasoning was cut off or is not there")
    lead, tag, reasoning = before.rpartition(_OPEN)
    if lead.strip():
        raise _Unusable("text_before_think: text stands before <think>")
    return reasoning, answer


def _plain(row: Row, source: str, prompt: list[Message], reasoning: str, answer: str) -> TraceRecord:
    if not any(turn.content.strip() for turn in prompt):
        raise _Unusable("no_prompt: there is no question before the answer")
    if not reasoning.strip():
        raise _Unusable("no_reasoning: the reasoning is empty")
    name = row_name(row, *(turn.content for turn in prompt), reasoning, answer)
    segments = (Segment(kind="other", text=reasoning),)
    return TraceRecord(id=name, prompt=tuple(prompt), segments=segments, answer=answer, meta=row_meta(row, source))


def row_name(row: Row, *texts: str) -> str:
    """The id of a row, or a digest of what it says."""
    name = row.get("id")
    return str(name) if isinstance(name, str | int) and str(name) else _digest("\0".join(texts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def row_meta(row: Row, source: str) -> Meta:
    """What a row says of where it comes from."""
    known = {name: row.get(name) for name in ("source", "domain", "difficulty", "license")}
    kept = {name: value for name, value in known.items() if isinstance(value, str | int | float)}
    difficulty = kept.pop("difficulty", None)
    texts = {name: str(value) for name, value in kept.items()}
    return Meta(**{"source": source, **texts}, difficulty=difficulty)


_COLUMNS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "chat": frozenset({"messages"}),
        "open-thoughts": frozenset({"conversations"}),
        "open-mementos": frozenset({"problem", "response"}),
    }
)

FORMATS: Mapping[str, Callable[[Row, str], TraceRecord]] = MappingProxyType(
    {"trace": _trace, "chat": _chat, "open-thoughts": _open_thoughts, "open-mementos": _open_mementos}
)
