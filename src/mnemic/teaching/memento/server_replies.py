"""What the server answers, in OpenAI's shapes: whole replies, chunks of a stream, and errors."""

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mnemic.teaching.memento.engine_sequences import Delta, Finished, Statistics

__all__ = ["Reply", "error_body", "sse"]


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def sse(data: Mapping[str, Any]) -> str:
    """An event of a stream."""
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


@dataclass
class Reply:
    """One answer, whole or in chunks.

    Attributes:
        chat: of /v1/chat/completions; otherwise of /v1/completions, whose text is not split.
        count: continuations.
        trace: give the ids and the tokens held after each.
    """

    model: str
    chat: bool
    prompt_tokens: int
    count: int
    trace: bool
    created: int = field(default_factory=lambda: int(time.time()))
    number: str = field(default_factory=lambda: uuid.uuid4().hex)

    def whole(self, events: Iterable[Delta | Finished]) -> dict[str, Any]:
        """The answer once all its events are known."""
        said: list[dict[str, str]] = [{} for _ in range(self.count)]
        ends: dict[int, Finished] = {}
        for event in events:
            if isinstance(event, Finished):
                ends[event.index] = event
            else:
                channel, text = event.piece
                said[event.index][channel] = said[event.index].get(channel, "") + text
        choices = []
        for index, words in enumerate(said):
            end: dict[str, Any] = {"finish_reason": ends[index].reason, "mnemic": self._mnemic(ends[index].statistics)}
            if self.chat:
                message: dict[str, Any] = {"role": "assistant", "content": words.get("content", "")}
                if "reasoning" in words:
                    message["reasoning_content"] = words["reasoning"]
                choices.append({"index": index, "message": message, "logprobs": None, **end})
            else:
                choices.append({"index": index, "text": words.get("content", ""), "logprobs": None, **end})
        statistics = [ends[index].statistics for index in range(self.count)]
        return {**self._head(chunk=False), "choices": choices, **self._usage(statistics)}

    def opening(self) -> Iterator[dict[str, Any]]:
        """The chunks that come first: who speaks."""
        for index in range(self.count if self.chat else 0):
            yield self._chunk(index, {"role": "assistant", "content": ""})

    def delta(self, event: Delta) -> dict[str, Any]:
        """A chunk of new text."""
        channel, text = event.piece
        return self._chunk(event.index, {"reasoning_content" if channel == "reasoning" else "content": text})

    def end(self, event: Finished) -> dict[str, Any]:
        """The chunk that ends one continuation."""
        chunk = self._chunk(event.index, {})
        chunk["choices"][0]["finish_reason"] = event.reason
        chunk["choices"][0]["mnemic"] = self._mnemic(event.statistics)
        return chunk

    def closing(self, statistics: list[Statistics]) -> dict[str, Any]:
        """The chunk with the usage, for those who asked for it."""
        return {**self._head(chunk=True), "choices": [], **self._usage(statistics)}

    def _chunk(self, index: int, delta: dict[str, str]) -> dict[str, Any]:
        said: dict[str, Any] = {"delta": delta} if self.chat else {"text": delta.get("content", "")}
        choice = {"index": index, **said, "logprobs": None, "finish_reason": None}
        return {**self._head(chunk=True), "choices": [choice]}

    def _head(self, *, chunk: bool) -> dict[str, Any]:
        kind = "chat.completion" + ".chunk" * chunk if self.chat else "text_completion"
        prefix = "chatcmpl" if self.chat else "cmpl"
        return {"id": f"{prefix}-{self.number}", "object": kind, "created": self.created, "model": self.model}

    def _usage(self, statistics: list[Statistics]) -> dict[str, Any]:
        generated = sum(len(one.tokens) for one in statistics)
        return {
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": generated,
                "total_tokens": self.prompt_tokens + generated,
            },
            "mnemic": {
                "peak_resident_tokens": max(one.peak_resident_tokens for one in statistics),
                "full_attention_tokens": max(one.full_attention_tokens for one in statistics),
                "blocks": sum(one.blocks for one in statistics),
            },
        }

    def _mnemic(self, statistics: Statistics) -> dict[str, Any]:
        known = {
            "peak_resident_tokens": statistics.peak_resident_tokens,
            "full_attention_tokens": statistics.full_attention_tokens,
            "blocks": statistics.blocks,
            "malformed": statistics.malformed,
            "forced_block_ends": statistics.forced_block_ends,
            "restarts": statistics.restarts,
        }
        return known | {"tokens": statistics.tokens, "kv_trace": statistics.kv_trace} if self.trace else known
