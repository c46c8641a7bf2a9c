"""Who answers: a language model behind a server, a file of predictions, or anything that takes an item."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args

from pydantic import AliasChoices, Field

from mnemic.errors import MnemicError, UsageError, nearest
from mnemic.llm import LLM, Completion
from mnemic.teaching.rwr.canon import UNANSWERABLE
from mnemic.teaching.rwr.evaluation.items import EvaluationItem
from mnemic.teaching.rwr.evaluation.reading import Entry, read_entries
from mnemic.teaching.rwr.layout import Mode, Reply, parse_reply, prompt_text
from mnemic.teaching.rwr.passages import passages
from mnemic.teaching.rwr.speed import Speed
from mnemic.teaching.tokens import ApproximateTokens, TokenCounter

__all__ = ["ANSWER_TAG", "AnswerMode", "Answered", "Answerer", "LLMAnswerer", "Predictions"]

AnswerMode = Literal["note", "direct", "segments"]
ANSWER_TAG: Final = "rwr-answer"
NOTE_TAG: Final = "rwr-note"


@dataclass(frozen=True)
class Answered:
    """An answer and what it cost.

    Attributes:
        answer: the answer alone.
        notes: what was written before it: one note, or one for each segment that had something to say.
        prompt_tokens: that were read, all prompts together.
        completion_tokens: that were written.
        seconds: of the clock; None where nobody knows.
        speed: of reading and writing, where it was measured: a server does not say.
        state_bytes: of the recurrent state; None where there is none, or nobody knows.
    """

    answer: str
    notes: tuple[str, ...] = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float | None = None
    speed: Speed | None = None
    state_bytes: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"speed": self.speed.as_json() if self.speed else None}


class Answerer(Protocol):
    """Answers items, from many threads at once. `settings` is all that its answers depend on, as JSON."""

    @property
    def settings(self) -> dict[str, Any]: ...

    def __call__(self, item: EvaluationItem) -> Answered:
        """Raises MnemicError where it cannot."""
        ...


class LLMAnswerer:
    """A language model that is asked in the layout of Recall with Reasoning.

    Args:
        mode: "note": a note first, then the answer, in one reply; "direct": the answer alone; "segments": a note on
            each segment, then an answer from the notes that hold something, which are condensed as often as it takes.
        segment_tokens: most tokens of a segment.
        max_tokens: most tokens of a reply.
    """

    def __init__(
        self,
        llm: LLM,
        *,
        mode: AnswerMode = "note",
        segment_tokens: int = 6000,
        max_tokens: int | None = None,
        counter: TokenCounter | None = None,
    ) -> None:
        if mode not in get_args(AnswerMode):
            raise UsageError(f"mode is '{mode}'{nearest(mode, get_args(AnswerMode))}")
        if segment_tokens < 1:
            raise UsageError(f"segment_tokens is {segment_tokens}; it must be at least 1")
        self._llm, self._mode, self._segment_tokens, self._max_tokens = llm, mode, segment_tokens, max_tokens
        self._counter = counter or ApproximateTokens()

    @property
    def settings(self) -> dict[str, Any]:
        limits = {"max_tokens": self._max_tokens}
        if self._mode == "segments":
            limits |= {"segment_tokens": self._segment_tokens}
        return {"model": self._llm.model, "mode": self._mode, **limits}

    def __call__(self, item: EvaluationItem) -> Answered:
        call = _Call(self._llm, item.query_text, self._max_tokens)
        began = time.monotonic()
        if self._mode != "segments":
            reply = call.ask(item.context_text, "summary+answer" if self._mode == "note" else "answer")
            notes = tuple(note for note in (reply.summary,) if note)
            answer = reply.answer or ""
        else:
            notes = self._notes(call, item.context_text)
            answer = (call.ask("\n\n".join(notes), "answer").answer or "") if notes else UNANSWERABLE
        return call.answered(answer, notes, time.monotonic() - began)

    def _notes(self, call: _Call, text: str) -> tuple[str, ...]:
        """Notes on the segments of a text, and notes on these until they fit one segment or grow no shorter."""
        before: int | None = None
        notes: tuple[str, ...] = ()
        while True:
            parts = [part.text for part in passages(text, self._segment_tokens, self._counter.count)]
            if before is not None and (len(parts) <= 1 or len(parts) >= before):
                return notes
            before = len(parts)
            replies = [call.ask(part, "summary") for part in parts]
            notes = tuple(reply.summary for reply in replies if reply.summary and not reply.is_empty)
            if not notes:
                return ()
            text = "\n\n".join(notes)


class _Call:
    """The calls about one item, and the tokens they cost."""

    def __init__(self, llm: LLM, query: str, max_tokens: int | None) -> None:
        self._llm, self._query, self._max_tokens = llm, query, max_tokens
        self._done: list[Completion] = []

    def ask(self, context: str, mode: Mode) -> Reply:
        messages = [{"role": "user", "content": prompt_text(context, self._query, mode=mode)}]
        tag = NOTE_TAG if mode == "summary" else ANSWER_TAG
        done = self._llm.complete(messages, max_tokens=self._max_tokens, tag=tag)
        self._done.append(done)
        return parse_reply(done.text, mode=mode)

    def answered(self, answer: str, notes: tuple[str, ...], seconds: float) -> Answered:
        """With what is known: not tokens that the server does not report, nor the time of replies that were there."""
        usages = [done.usage for done in self._done]
        are_counted = not any(usage.estimated for usage in usages)
        return Answered(
            answer,
            notes,
            sum(usage.prompt_tokens for usage in usages) if are_counted else None,
            sum(usage.completion_tokens for usage in usages) if are_counted else None,
            None if any(done.cached for done in self._done) else seconds,
        )


class _Prediction(Entry):
    id: str = Field(validation_alias=AliasChoices("id", "question_id"))
    answer: str = Field(validation_alias=AliasChoices("hypothesis", "prediction", "answer"))
    note: str | None = None


class Predictions:
    """Answers that somebody gave before: lines of {"question_id" or "id", "hypothesis", "prediction" or "answer"}.

    Raises:
        UsageError: the file cannot be read, a field is missing, or an id comes twice.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._found: dict[str, _Prediction] = {}
        for place, row in read_entries(str(path), _Prediction):
            if row.id in self._found:
                raise UsageError(f"{place}: question '{row.id}' has a prediction already")
            self._found[row.id] = row

    @property
    def settings(self) -> dict[str, Any]:
        return {"predictions": {name: row.model_dump() for name, row in self._found.items()}}

    def __call__(self, item: EvaluationItem) -> Answered:
        row = self._found.get(item.id)
        if row is None:
            raise MnemicError(f"'{self._path}' has no prediction for question '{item.id}'")
        reply = parse_reply(row.answer)
        notes = tuple(note for note in (row.note or reply.summary,) if note)
        return Answered(reply.answer or "", notes)
