"""What a build of recall data begins with: contexts, questions and answers, of files, data sets and histories."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mnemic.errors import UsageError, nearest
from mnemic.options import explain
from mnemic.teaching.importers import row_meta, row_name
from mnemic.teaching.records import Meta, Text
from mnemic.teaching.rwr.histories import HISTORIES, History
from mnemic.teaching.sources import Row, open_shards, rows_of

__all__ = ["FORMATS", "Example", "examples_of", "from_rows", "read_examples"]


class Example(BaseModel):
    """A question about a context. One with an `error` cannot be used, and says why: "reason: details"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text = Field(min_length=1, description="Unique in its source.")
    context: Text = Field(description="What is read; empty where a row has no passage of its own.")
    query: Text = Field(description="What is asked.")
    answer: Text = Field(description="What is right.")
    aliases: tuple[Text, ...] = Field((), description="Other spellings of the answer.")
    meta: Meta = Field(Meta(), description="Where it comes from.")
    error: str | None = Field(None, description="Why it cannot be used.")

    @property
    def answers(self) -> tuple[str, ...]:
        return (self.answer, *(alias for alias in self.aliases if alias.strip()))


def read_examples(
    source: str, *, format: str | None = None, limit: int | None = None, seed: int = 0, split: str = "train"
) -> Iterator[Example]:
    """The examples of a source, each id once.

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


def examples_of(histories: Iterable[History]) -> Iterator[Example]:
    """Every question of every history."""
    for history in histories:
        context = history.context
        for number, question in enumerate(history.questions):
            meta = Meta(source=HISTORIES, domain=question.kind, license="Apache-2.0")
            name = f"{history.id}-{number}"
            yield Example(id=name, context=context, query=question.query, answer=question.answer, meta=meta)


def from_rows(rows: Iterable[Row], source: str, format: str | None = None) -> Iterator[Example]:
    """Examples of rows; the second of two rows with one id cannot be used, and has another id."""
    seen: dict[str, int] = {}
    for row in rows:
        format = format or _recognised(row, source)
        example = _imported(row, format, source)
        copies = seen[example.id] = seen.get(example.id, 0) + 1
        if copies > 1:
            error = example.error or f"duplicate_id: {example.id} was there before"
            example = example.model_copy(update={"id": f"{example.id}#{copies}", "error": error})
        yield example


def _recognised(row: Row, source: str) -> str:
    for format, columns in _COLUMNS.items():
        if columns <= row.keys():
            return format
    wanted = "; ".join(f"{format}: {', '.join(sorted(columns))}" for format, columns in _COLUMNS.items())
    raise UsageError(f"the rows of '{source}' have the columns {', '.join(map(str, row))}; known are {wanted}")


def _imported(row: Row, format: str, source: str) -> Example:
    try:
        example = FORMATS[format](row, source)
        blank = next((name for name in ("query", "answer") if not getattr(example, name).strip()), None)
        if blank is None:
            return example
        return example.model_copy(update={"error": f"no_{blank}: the {blank} is blank"})
    except KeyError as missing:
        error = f"bad_row: there is no column {missing}"
    except ValidationError as wrong:
        code = wrong.errors()[0]["type"]
        error = f"{code if code == 'not_unicode' else 'bad_row'}: {explain('row', Example, wrong)}"
    name = row_name(row, json.dumps(row, default=str, sort_keys=True)).encode("utf-8", "replace").decode()
    said = error.encode("utf-8", "replace").decode()
    return Example(id=name, context="", query="", answer="", meta=Meta(source=source), error=said)


def _recall(row: Row, source: str) -> Example:
    """`context`, `query` and `answer`, and `aliases` where there are any; an answer may be a list, its spellings."""
    answer, aliases = row["answer"], row.get("aliases") or ()
    if isinstance(answer, list) and answer:
        answer, aliases = answer[0], (*answer[1:], *aliases)
    answer = str(answer) if isinstance(answer, int | float) and not isinstance(answer, bool) else answer
    name = row_name(row, str(row["context"]), str(row["query"]), str(answer))
    return Example.model_validate(
        {"id": name, "context": row["context"], "query": row["query"], "answer": answer, "aliases": aliases,
         "meta": row_meta(row, source)}
    )  # fmt: skip


def _open_orca(row: Row, source: str) -> Example:
    """`system_prompt`, `question`, `response`. Their `question` is passage and question in one, most often the question
    last: the last line that asks is the query, or the first where none does later, and the rest is the context. Where
    hardly anything remains there is no context, and the row can only be answered directly. The system prompt says how
    to answer, so it stands before the query."""
    question, system = row["question"], row.get("system_prompt") or ""
    if not isinstance(question, str) or not isinstance(system, str):
        question, system, context, query = "", "", "", question
    else:
        context, query = _split(question)
    asked = f"{system.strip()}\n{query}" if system.strip() else query
    name = row_name(row, str(system), str(question), str(row["response"]))
    return Example.model_validate(
        {"id": name, "context": context, "query": asked, "answer": row["response"], "meta": row_meta(row, source)}
    )


_ASKS = re.compile(r"\?[\"'”’)\]]*\s*$|^\s*(?:q|question|query|instruction|task)\s*:", re.IGNORECASE)
_CUE = re.compile(r"^\s*(?:a|answer|the answer is|output|response)\s*:?\s*$", re.IGNORECASE)
_LEAST_WORDS = 20


def _split(text: str) -> tuple[str, str]:
    lines = [line for line in text.splitlines() if line.strip() and not _CUE.match(line)]
    asking = [number for number, line in enumerate(lines) if _ASKS.search(line)]
    if not asking:
        return "", text.strip()
    # options and cues that follow the question are part of it
    at = asking[-1]
    if at == 0:
        context, query = lines[1:], lines[:1]
    else:
        context, query = lines[:at], lines[at:]
    if sum(len(line.split()) for line in context) < _LEAST_WORDS:
        return "", text.strip()
    return "\n".join(context), "\n".join(query)


_COLUMNS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "recall": frozenset({"context", "query", "answer"}),
        "open-orca": frozenset({"question", "response"}),
    }
)

FORMATS: Mapping[str, Callable[[Row, str], Example]] = MappingProxyType({"recall": _recall, "open-orca": _open_orca})
