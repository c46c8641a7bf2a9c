"""A model of our own machine that answers the questions of an evaluation."""

from __future__ import annotations

import time
from threading import Lock
from typing import Any

from mnemic.errors import UsageError
from mnemic.teaching.rwr.answering import answer_questions
from mnemic.teaching.rwr.completion import Decoding
from mnemic.teaching.rwr.evaluation.answerers import Answered, AnswerMode
from mnemic.teaching.rwr.evaluation.items import EvaluationItem
from mnemic.teaching.rwr.segmented import SegmentOptions, segmented_answer

__all__ = ["CheckpointAnswerer"]


class CheckpointAnswerer:
    """One question at a time, however many threads ask.

    Args:
        name: which checkpoint this is, in the records of the evaluation.
        mode: "note", "direct" or "segments", as of `LLMAnswerer`.
        segment_tokens: most tokens of a segment; None: what fits `training_tokens`.
        training_tokens: of prompt and reply, for segments.
        max_new_tokens: of a reply, and of a note.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        mode: AnswerMode = "note",
        segment_tokens: int | None = None,
        training_tokens: int = 6000,
        max_new_tokens: int = 256,
    ) -> None:
        if mode not in ("note", "direct", "segments"):
            raise UsageError(f"mode is '{mode}'; it must be note, direct or segments")
        self._model, self._tokenizer, self._name, self._mode = model, tokenizer, name, mode
        self._decoding = Decoding(max_new_tokens=max_new_tokens)
        self._segments = SegmentOptions(
            training_tokens=training_tokens, segment_tokens=segment_tokens, note_tokens=max_new_tokens,
            answer_tokens=max_new_tokens,
        )  # fmt: skip
        self._lock = Lock()

    @property
    def settings(self) -> dict[str, Any]:
        options = self._segments if self._mode == "segments" else self._decoding
        return {"checkpoint": self._name, "mode": self._mode, **options.model_dump()}

    def __call__(self, item: EvaluationItem) -> Answered:
        with self._lock:
            return self._in_segments(item) if self._mode == "segments" else self._at_once(item)

    def _at_once(self, item: EvaluationItem) -> Answered:
        began = time.monotonic()
        answers = answer_questions(
            self._model, self._tokenizer, item.context_text, [item.query_text],
            mode="summary+answer" if self._mode == "note" else "answer", decoding=self._decoding,
        )  # fmt: skip
        one, speed = answers.answered[0], answers.speed
        notes = tuple(note for note in (one.reply.summary,) if note)
        return Answered(one.reply.answer or "", notes, speed.prefill_tokens, one.tokens, time.monotonic() - began)

    def _in_segments(self, item: EvaluationItem) -> Answered:
        done = segmented_answer(self._model, self._tokenizer, item.context_text, item.query_text, self._segments)
        return Answered(done.answer, tuple(done.notes), done.prefill_tokens, None, done.seconds)
