"""What teaching data is made of: one JSON object per line, UTF-8, with a `schema` that says which kind it is.

`mnemic.trace/1` is a reasoning trace cut into blocks, each with the memento that may stand in its place.
`mnemic.recall/1` is a context, a question about it, and the note that is to be written before the answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from mnemic.errors import MnemicError, UsageError
from mnemic.options import explain
from mnemic.teaching.memento.marker_text import MARKERS
from mnemic.teaching.rwr.canon import EMPTY, UNANSWERABLE, is_abstention, is_empty_note

__all__ = [
    "FORBIDDEN",
    "RECALL",
    "TRACE",
    "Message",
    "Meta",
    "Provenance",
    "RecallRecord",
    "Segment",
    "TraceRecord",
    "Verified",
    "forbidden_in",
    "numbered_lines",
    "read_jsonl",
    "write_jsonl",
]

TRACE: Final = "mnemic.trace/1"
RECALL: Final = "mnemic.recall/1"

# What would be taken for structure if it stood inside a text: the four markers, and the tags around the reasoning.
FORBIDDEN = (*astuple(MARKERS), "<think>", "</think>")


def _encodable(text: str) -> str:
    """Half a surrogate pair, which JSON can spell, is no text: no file and no tokenizer can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("not_unicode", "the text holds half a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_encodable)]
Score = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Message(_Part):
    """One turn of the prompt."""

    role: str = Field(description="system, user, assistant or tool.", min_length=1)
    content: Text = Field(description="What was said.")


class Segment(_Part):
    """A piece of the assistant's reasoning."""

    kind: Literal["other", "block", "memento"] = Field(description="Reasoning outside blocks, a block, or its memento.")
    text: Text = Field(description="The text without markers.")
    block: int | None = Field(None, ge=0, description="Number of the block from 0; none outside blocks.")
    tokens: int | None = Field(None, ge=0, description="Tokens of the text, where they were counted.")
    score: Score | None = Field(None, description="The judge's score of a memento, 0 to 10.")


class Meta(_Part):
    """Where a trace comes from."""

    source: Text | None = Field(None, description="Data set or file.")
    domain: Text | None = Field(None, description="math, code, science, …")
    difficulty: Text | float | None = Field(None, description="As the source gives it.")
    license: Text | None = Field(None, description="Licence of the source.")


class Provenance(_Part):
    """How mementos or notes were made."""

    teacher: str | None = Field(None, description="Model that wrote them.")
    pipeline_version: str | None = Field(None, description="Version of the code that built the record.")
    prompt_hash: str | None = Field(None, description="Digest of the prompts that the teacher was given.")
    rounds: int | None = Field(None, ge=0, description="Most rounds of judging that any block of the trace took.")


class _Record(_Part):
    """What may be used or, with `status` "failed", keeps its place and its `error`, and is never trained on."""

    if TYPE_CHECKING:  # fields of every kind, each in its place among the others
        status: Literal["ok", "failed"]
        error: str | None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if (self.status == "failed") != (self.error is not None):
            raise PydanticCustomError("status", "a failed record, and no other, has an error")
        if self.status == "ok":
            self._check()
        return self

    def _check(self) -> None:
        """What must hold of a record that may be used."""
        raise NotImplementedError

    def dump(self) -> str:
        """One line of JSON."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), ensure_ascii=False)

    def failed(self, error: str) -> Self:
        """The same record as one that cannot be used; one that cannot already keeps its reason.

        Args:
            error: "reason: details"; what stands before the colon is what reports count.
        """
        if self.status == "failed":
            return self
        return self.model_validate({**self.model_dump(by_alias=True), "status": "failed", "error": error})


class TraceRecord(_Record):
    """A reasoning trace.

    Block and other texts, one after the other, are the original reasoning byte for byte.
    """

    schema_: Literal["mnemic.trace/1"] = Field(TRACE, alias="schema", description="Kind and version of the record.")
    id: Text = Field(description="Unique in its file.", min_length=1)
    prompt: tuple[Message, ...] = Field(description="Turns before the answer.")
    segments: tuple[Segment, ...] = Field(description="The reasoning, in order.")
    answer: Text = Field(description="What follows the reasoning.")
    meta: Meta = Field(Meta(), description="Where it comes from.")
    provenance: Provenance = Field(Provenance(), description="How it was made.")
    status: Literal["ok", "failed"] = Field("ok", description="Whether it may be used.")
    error: str | None = Field(None, description='Why it may not: "reason: details".')

    def _check(self) -> None:
        self._check_order()
        self._check_texts()

    def _check_order(self) -> None:
        """Blocks are numbered from 0; a memento follows its block, and only the last block may go without."""
        blocks = 0
        awaited = interrupted = False
        for segment in self.segments:
            if segment.kind == "block":
                if awaited:
                    raise PydanticCustomError("memento_missing", f"block {blocks - 1} has no memento before the next")
                if segment.block != blocks:
                    raise PydanticCustomError("block_number", f"block {segment.block} stands where {blocks} belongs")
                blocks, awaited, interrupted = blocks + 1, True, False
            elif segment.kind == "memento":
                if not awaited or interrupted or segment.block != blocks - 1:
                    raise PydanticCustomError("memento_order", f"memento {segment.block} does not follow its block")
                awaited = False
            elif segment.block is not None:
                raise PydanticCustomError("block_number", "text outside blocks has the number of one")
            else:
                interrupted = interrupted or bool(segment.text.strip())

    def _check_texts(self) -> None:
        for segment in self.segments:
            if found := forbidden_in(segment.text):
                raise PydanticCustomError("marker_leak", f"'{found}' stands inside a text of kind {segment.kind}")
            if segment.kind == "memento" and not segment.text.strip():
                raise PydanticCustomError("memento_empty", f"memento {segment.block} is empty")
            if segment.kind == "block" and not segment.text:
                raise PydanticCustomError("block_empty", f"block {segment.block} is empty")
        if found := forbidden_in(self.answer):
            raise PydanticCustomError("marker_leak", f"'{found}' stands inside the answer")

    @property
    def reasoning(self) -> str:
        """The original reasoning: everything but the mementos."""
        return "".join(segment.text for segment in self.segments if segment.kind != "memento")


class Verified(_Part):
    """How it was found out that a note holds the answer, or that an empty one is right."""

    method: Literal["contains", "f1", "llm", "teacher"] = Field(
        description="The answer stands in the note, their words agree, a model says so; or the teacher found nothing."
    )
    score: Score = Field(description="0 to 1.", ge=0, le=1)
    ok: bool = Field(description="What was found out.")


class RecallRecord(_Record):
    """A context, a question about it, and what is to be written: a note and the answer, or the answer alone."""

    schema_: Literal["mnemic.recall/1"] = Field(RECALL, alias="schema", description="Kind and version of the record.")
    id: Text = Field(description="Unique in its file.", min_length=1)
    context: Text = Field(description="What is read before the question; plain rows may go without.")
    query: Text = Field(description="The question.")
    answer: Text = Field(description=f"Its answer, or '{UNANSWERABLE}'.")
    summary: Text | None = Field(None, description=f"The note, or '{EMPTY}'; none in plain rows.")
    empty: bool = Field(False, description="The context does not hold the answer.")
    verified: Verified | None = Field(None, description="What speaks for the note; none in plain rows.")
    meta: Meta = Field(Meta(), description="Where it comes from.")
    provenance: Provenance = Field(Provenance(), description="How it was made.")
    status: Literal["ok", "failed"] = Field("ok", description="Whether it may be used.")
    error: str | None = Field(None, description='Why it may not: "reason: details".')

    @property
    def kind(self) -> Literal["valid", "empty", "plain"]:
        """A note that holds the answer, one that says there is none, or no note at all."""
        return "plain" if self.summary is None else "empty" if self.empty else "valid"

    def _check(self) -> None:
        if not self.query.strip() or not self.answer.strip():
            raise PydanticCustomError("blank", "query and answer must say something")
        if self.summary is None:
            if self.empty or self.verified is not None:
                raise PydanticCustomError("no_note", "a row without a note is neither empty nor verified")
            return
        if is_empty_note(self.summary) != self.empty or (self.empty and self.summary != EMPTY):
            raise PydanticCustomError("empty_note", f"the note of an empty row, and of no other, is '{EMPTY}'")
        if is_abstention(self.answer) != self.empty or (self.empty and self.answer != UNANSWERABLE):
            raise PydanticCustomError("abstention", f"the answer of an empty row, and of no other, is '{UNANSWERABLE}'")
        if self.verified is None or not self.verified.ok:
            raise PydanticCustomError("unverified", "a note must have been verified")
        if not self.context.strip():
            raise PydanticCustomError("no_context", "a note needs a context that it is of")


R = TypeVar("R", bound=BaseModel)


def forbidden_in(text: str) -> str | None:
    """The first of the strings that no text may hold, or None."""
    return next((marker for marker in FORBIDDEN if marker in text), None)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that hold anything, with their numbers from 1.

    Raises:
        UsageError: the file is not there, cannot be read, or is not UTF-8.
    """
    number = 0
    try:
        # newline="\n": U+2028 and lone carriage returns are text, and stay inside their line
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise UsageError(f"there is no file '{path}'") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not UTF-8 after line {number}: {error.reason}") from None
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from None


def read_jsonl(path: Path, kind: type[R] = TraceRecord) -> Iterator[R]:  # type: ignore[assignment]
    """The records of a file, failed ones too.

    Raises:
        UsageError: no such file, or a line is no record of this kind; the message names the line.
    """
    for number, line in numbered_lines(path):
        try:
            yield kind.model_validate_json(line)
        except ValidationError as wrong:
            raise UsageError(explain(f"line {number} of '{path}'", kind, wrong)) from None


def write_jsonl(path: Path, records: Iterable[TraceRecord | RecallRecord]) -> int:
    """Write a file of records, whole or not at all, and say how many they are.

    Raises:
        MnemicError: it cannot be written; what stood there before still does.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            for record in records:
                file.write(record.dump() + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise MnemicError(f"cannot write '{path}': {error.strerror}; what was there is untouched") from error
    finally:
        aside.unlink(missing_ok=True)
    return count
