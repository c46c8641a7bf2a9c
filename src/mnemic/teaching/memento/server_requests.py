"""What clients may ask of the server: OpenAI's parameters as far as they can be kept, and the refusal of the others."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mnemic.errors import UsageError, nearest
from mnemic.teaching.memento.engine_sequences import Sampling

__all__ = ["ChatBody", "CompletionBody", "Refused", "read_body"]

_UNSUPPORTED = (
    "audio",
    "best_of",
    "echo",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "modalities",
    "prediction",
    "response_format",
    "suffix",
    "tool_choice",
    "tools",
    "top_logprobs",
)
_IGNORED = (
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
    "verbosity",
)
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0, None),
    "presence_penalty": (0, None),
    "logprobs": (False, None),
    "logit_bias": ({}, None),
    "response_format": ({"type": "text"}, None),
    "tools": ([], None),
    "tool_choice": ("none", "auto", None),
    "best_of": (1, None),
    "echo": (False, None),
    "suffix": ("", None),
}
"""Values that ask for nothing, which clients send all the same."""


class Refused(UsageError):
    """A request that cannot be served as it is.

    Attributes:
        param: the parameter at fault.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class MementoOptions(BaseModel):
    """The server's own options, under "mnemic" in a body."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    raw: bool = Field(False, description="everything as the model wrote it, markers too, as content")
    well_formed: bool = Field(False, description="forbid markers out of order")
    trace: bool = Field(False, description="return the generated ids, and the tokens held after each one that was fed")


class StreamOptions(BaseModel):
    """OpenAI's stream_options."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    include_usage: bool = Field(False, description="send a last chunk with the usage")


class SamplingBody(BaseModel):
    """What both kinds of completion share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="the name that /v1/models gives")
    max_tokens: int | None = Field(None, ge=1, description="tokens to generate, at most; none: as many as fit")
    temperature: float | None = Field(None, ge=0, le=100, description="0 for greedy; 1 unless given")
    top_p: float | None = Field(None, gt=0, le=1, description="sample from the likeliest that reach this together")
    top_k: int | None = Field(None, ge=-1, description="sample from so many of the likeliest; 0 or -1: all")
    n: int | None = Field(None, ge=1, le=128, description="continuations")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63, description="the same seed samples the same")
    stop: str | list[str] | None = Field(None, description="up to 16 strings that end the text")
    stream: bool | None = Field(None, description="send it as it comes")
    stream_options: StreamOptions | None = Field(None, description="of a stream")
    mnemic: MementoOptions = Field(MementoOptions(), description="options of this server")

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if isinstance(stop, list) and (len(stop) > 16 or not all(stop)):
            raise ValueError("up to 16 strings, none of them empty")
        return stop

    def sampling(self) -> Sampling:
        stop = (self.stop,) if isinstance(self.stop, str) and self.stop else tuple(self.stop or ())
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=max(0, self.top_k or 0),
            max_tokens=self.max_tokens,
            stop=stop,
            # a generator takes what fits into 64 bits without a sign, and `n` counts on from it
            seed=None if self.seed is None else self.seed % 2**63,
            n=self.n or 1,
            well_formed=self.mnemic.well_formed,
            shown="raw" if self.mnemic.raw else "split",
        )


class TextPart(BaseModel):
    """A piece of a message's content."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None

    def plain(self) -> dict[str, str]:
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatBody(SamplingBody):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, description="the chat so far")
    max_completion_tokens: int | None = Field(None, ge=1, description="the newer name of max_tokens")

    @model_validator(mode="after")
    def _one_length(self) -> "ChatBody":
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            raise ValueError("max_tokens and max_completion_tokens differ; give one")
        return self

    def sampling(self) -> Sampling:
        given = super().sampling()
        return replace(given, max_tokens=self.max_completion_tokens or given.max_tokens)


class CompletionBody(SamplingBody):
    """POST /v1/completions."""

    prompt: str | list[int] = Field(description="text, or token ids")

    def sampling(self) -> Sampling:
        given = super().sampling()
        tokens = 16 if self.max_tokens is None else self.max_tokens  # OpenAI's default
        return replace(given, max_tokens=tokens, shown="raw" if self.mnemic.raw else "plain")


B = TypeVar("B", bound=SamplingBody)


def read_body(kind: type[B], body: Any) -> B:
    """
    Raises:
        Refused: naming the parameter, its value, and what would be right.
    """
    if not isinstance(body, Mapping):
        raise Refused("the body must be a JSON object")
    given = {key: value for key, value in body.items() if not _asks_nothing(key, value)}
    for key in given:
        if key in _UNSUPPORTED or key in _HARMLESS:
            raise Refused(f"{key} is not supported by this server; leave it out", key)
        if key not in kind.model_fields:
            raise Refused(f"unknown parameter '{key}'{nearest(key, kind.model_fields)}", key)
    try:
        return kind.model_validate(given)
    except ValidationError as wrong:
        error = wrong.errors()[0]
        where = ".".join(str(part) for part in error["loc"] if not _is_choice(part)) or None
        if error["type"] == "missing":
            raise Refused(f"{where} is missing", where) from None
        reason = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
        raise Refused(f"{where or 'body'}: {reason}; got {_short(error['input'])}", where) from None


def _asks_nothing(key: str, value: Any) -> bool:
    return key in _IGNORED or (key in _HARMLESS and any(value == harmless for harmless in _HARMLESS[key]))


def _is_choice(part: int | str) -> bool:
    """pydantic adds the tried type of a union to the path."""
    return isinstance(part, str) and (part in ("str", "int") or "[" in part)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
