"""One request: what is sent, what it is known by in the cache, and how large it is likely to be."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["JsonMode", "Request", "estimate_tokens"]

JsonMode = Literal["schema", "object", "none"]
_UNSAID_REPLY = 1024  # tokens set aside for a reply whose length was not limited
_PER_MESSAGE = 8


@dataclass(frozen=True)
class Request:
    """Attributes:
    sampling: temperature, max_tokens and what else decides the reply, as sent.
    """

    model: str
    messages: tuple[Mapping[str, str], ...]
    sampling: Mapping[str, Any]
    seed: int | None
    schema: Mapping[str, Any] | None

    @property
    def key(self) -> str:
        """SHA-256 of all that decides the reply; which server of the model it is sent to does not."""
        whole = {
            "model": self.model,
            "messages": [dict(message) for message in self.messages],
            "sampling": dict(self.sampling),
            "seed": self.seed,
            "schema": self.schema,
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def body(self, json_mode: JsonMode) -> bytes:
        """The JSON that is posted. Pure ASCII, so that a lone surrogate in a prompt cannot break it."""
        sent: dict[str, Any] = {"model": self.model, "messages": [dict(m) for m in self.messages], **self.sampling}
        if self.seed is not None:
            sent["seed"] = self.seed
        if self.schema is not None and json_mode == "schema":
            sent["response_format"] = {"type": "json_schema", "json_schema": {"name": "reply", "schema": self.schema}}
        elif self.schema is not None and json_mode == "object":
            sent["response_format"] = {"type": "json_object"}
        return json.dumps(sent).encode()

    def followed_by(self, messages: Sequence[Mapping[str, str]]) -> "Request":
        return Request(self.model, (*self.messages, *messages), self.sampling, self.seed, self.schema)

    @property
    def prompt_estimate(self) -> int:
        return sum(_PER_MESSAGE + estimate_tokens(message.get("content", "")) for message in self.messages)

    @property
    def completion_estimate(self) -> int:
        limits = (self.sampling.get("max_tokens"), self.sampling.get("max_completion_tokens"))
        return next((limit for limit in limits if isinstance(limit, int)), _UNSAID_REPLY)


def estimate_tokens(text: str) -> int:
    """Rather too many than too few: budgets are held by it until the endpoint has said what it counted."""
    return -(-len(text.encode(errors="replace")) // 3)
