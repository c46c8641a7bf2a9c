"""What a build of recall data begins with: contexts, questions and answers, of files, data sets and histories."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from types import MappingProxyType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from mnemic.teaching.records import Meta, Text
from mnemic.teaching.row_formats import RowFormats, row_meta, row_name
from mnemic.teaching.rwr.histories import HISTORIES, History
from mnemic.teaching.sources import Row

__all__ = ["Example", "examples_of", "from_rows", "read_examples"]


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

    def failed(self, error: str) -> Self:
        """The same as one that cannot be used; one that cannot already keeps its reason."""
        return self.model_copy(update={"error": self.error or error})


def examples_of(histories: Iterable[History]) -> Iterator[Example]:
    """Every question of every history."""
    for history in histories:
        context = history.context
        for number, question in enumerate(history.questions):
            meta = Meta(source=HISTORIES, domain=question.kind, license="Apache-2.0")
            name = f"{history.id}-{number}"
            yield Example(id=name, context=context, query=question.query, answer=question.answer, meta=meta)


def _recall(row: Row, source: str) -> Example:
    """`context`, `query` and `answer`, and `aliases` where there are any; an answer may be a list, its spellings."""
    answer, aliases = row["answer"], row.get("aliases") or ()
    if isinstance(answer, list) and answer:
        answer, aliases = answer[0], (*answer[1:], *aliases)
    answer = str(answer) if isinstance(answer, int | float) and not isinstance(answer, bool) else answer
    name = row_name(row, str(row["context"]), str(row["query"]), str(answer))
    return _example(row, source, id=name, context=row["context"], query=row["query"], answer=answer, aliases=aliases)


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
    return _example(row, source, id=name, context=context, query=asked, answer=row["response"])


def _example(row: Row, source: str, **fields: Any) -> Example:
    example = Example.model_validate({**fields, "meta": row_meta(row, source)})
    blank = next((name for name in ("query", "answer") if not getattr(example, name).strip()), None)
    return example if blank is None else example.failed(f"no_{blank}: the {blank} is blank")


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


def _unusable(name: str, source: str, error: str) -> Example:
    return Example(id=name, context="", query="", answer="", meta=Meta(source=source), error=error)


_FORMATS: RowFormats[Example] = RowFormats(
    kind=Example,
    makers=MappingProxyType({"recall": _recall, "open-orca": _open_orca}),
    columns=MappingProxyType(
        {"recall": frozenset({"context", "query", "answer"}), "open-orca": frozenset({"question", "response"})}
    ),
    unusable=_unusable,
    own_codes=frozenset({"not_unicode"}),
)

read_examples, from_rows = _FORMATS.read, _FORMATS.of
