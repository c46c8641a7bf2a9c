"""A model of our own machine that answers the questions of an evaluation."""

from __future__ import annotations

import time
from contextlib import nullcontext
from threading import Lock
from typing import Any

from mnemic.errors import UsageError
from mnemic.teaching.rwr.answering import answer_questions
from mnemic.teaching.rwr.completion import Decoding
from mnemic.teaching.rwr.decimation import Decimation, decimated
from mnemic.teaching.rwr.evaluation.answerers import Answered, AnswerMode
from mnemic.teaching.rwr.evaluation.items import EvaluationItem
from mnemic.teaching.rwr.layout import QueryPosition
from mnemic.teaching.rwr.segmented import SegmentOptions, segmented_answer
from mnemic.teaching.rwr.speed import Speed
from mnemic.teaching.rwr.state_size import state_bytes_if_any
from mnemic.teaching.tokens import TokenCounter

__all__ = ["CheckpointAnswerer"]


class CheckpointAnswerer:
    """One question at a time, however many threads ask.

    Args:
        name: which checkpoint this is, in the records of the evaluation.
        mode: "note", "direct" or "segments", as of `LLMAnswerer`.
        query_position: where the question stands, seen from the context.
        segment_tokens: most tokens of a segment; None: what fits `training_tokens`.
        training_tokens: of prompt and reply, for segments.
        max_new_tokens: of a reply, and of a note.
        decimation: of every prompt that is read; None: nothing is dropped.

    Raises:
        UsageError: an unknown mode, or a model that cannot be decimated so.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        mode: AnswerMode = "note",
        query_position: QueryPosition = "after",
        segment_tokens: int | None = None,
        training_tokens: int = 6000,
        max_new_tokens: int = 256,
        decimation: Decimation | None = None,
    ) -> None:
        if mode not in ("note", "direct", "segments"):
            raise UsageError(f"mode is '{mode}'; it must be note, direct or segments")
        if decimation is not None:
            decimation.layers_in(model)
        self._model, self._tokenizer, self._name, self._mode = model, tokenizer, name, mode
        self._decimation, self._position = decimation, query_position
        self._decoding = Decoding(max_new_tokens=max_new_tokens)
        self._segments = SegmentOptions(
            training_tokens=training_tokens, segment_tokens=segment_tokens, note_tokens=max_new_tokens,
            answer_tokens=max_new_tokens,
        )  # fmt: skip
        self.counter: TokenCounter = _OwnTokens(tokenizer, name)
        self._state_bytes = state_bytes_if_any(model)
        self._lock = Lock()

    @property
    def settings(self) -> dict[str, Any]:
        options = self._segments if self._mode == "segments" else self._decoding
        dropped = {} if self._decimation is None else {"decimation": self._decimation.model_dump()}
        asked = {"mode": self._mode, "query_position": self._position}
        return {"checkpoint": self._name, **asked, **options.model_dump(), **dropped}

    def __call__(self, item: EvaluationItem) -> Answered:
        decimation = self._decimation
        with self._lock, decimated(self._model, decimation) if decimation is not None else nullcontext():
            return self._in_segments(item) if self._mode == "segments" else self._at_once(item)

    def _at_once(self, item: EvaluationItem) -> Answered:
        began = time.monotonic()
        answers = answer_questions(
            self._model, self._tokenizer, item.context_text, [item.query_text],
            mode="summary+answer" if self._mode == "note" else "answer", query_position=self._position,
            decoding=self._decoding,
        )  # fmt: skip
        reply = answers.answered[0].reply
        notes = tuple(note for note in (reply.summary,) if note)
        return self._answered(reply.answer or "", notes, answers.speed, began)

    def _in_segments(self, item: EvaluationItem) -> Answered:
        speed, began = Speed(), time.monotonic()
        done = segmented_answer(
            self._model, self._tokenizer, item.context_text, item.query_text, self._segments, speed=speed,
            query_position=self._position,
        )  # fmt: skip
        return self._answered(done.answer, tuple(done.notes), speed, began)

    def _answered(self, answer: str, notes: tuple[str, ...], speed: Speed, began: float) -> Answered:
        seconds = time.monotonic() - began
        return Answered(answer, notes, speed.prefill_tokens, speed.decode_tokens, seconds, speed, self._state_bytes)


class _OwnTokens:
    """Counts as the checkpoint does, for lengths beside the length that it was trained on."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer, self.name = tokenizer, f"tokenizer:{name}"

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))
