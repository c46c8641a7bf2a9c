"""The plugin's options, which travel in vLLM's `additional_config` under the key "mnemic"."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mnemic.errors import UsageError
from mnemic.options import validated
from mnemic.teaching.memento.rules import MarkerIds, MementoRules
from mnemic_vllm.versions import Mode

__all__ = ["KEY", "SPANS_KEY", "Settings", "assistant_spans"]

KEY = "mnemic"
SPANS_KEY = "mnemic_assistant_spans"
"""In a request's extra arguments: [[start, end), ...] of prompt tokens that the model wrote in earlier turns."""


class Settings(BaseModel):
    """What a checkpoint's memento.json says, as vLLM's processes need it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = Field("on", description="off, auto or on; auto serves without eviction where it cannot be had")
    markers: MarkerIds = Field(description="token ids: block start, block end, summary start, summary end")
    rules: MementoRules = Field(default_factory=MementoRules, description="which keys a memento replaces, and when")

    @classmethod
    def of(cls, vllm_config: Any) -> "Settings | None":
        """The options of a VllmConfig; None when the plugin is not asked for."""
        additional = getattr(vllm_config, "additional_config", None)
        options = additional.get(KEY) if isinstance(additional, Mapping) else None
        if options is None:
            return None
        if not isinstance(options, Mapping):
            raise UsageError(f"additional_config.{KEY} is {options!r}; it must be a mapping of options")
        settings = validated(f"additional_config.{KEY}", cls, options)
        return None if settings.mode == "off" else settings


def assistant_spans(sampling_params: Any, prompt_tokens: int | None = None) -> tuple[tuple[int, int], ...]:
    """What of a prompt the model wrote, from the request's extra arguments; nothing unless they say so.

    Args:
        prompt_tokens: length of the prompt, None where it is not known yet.

    Raises:
        UsageError: not ordered, disjoint spans inside the prompt.
    """
    most = 2**31 if prompt_tokens is None else prompt_tokens
    given = (getattr(sampling_params, "extra_args", None) or {}).get(SPANS_KEY) or ()
    spans, before = [], 0
    for span in given:
        whole = isinstance(span, list | tuple) and len(span) == 2 and all(type(edge) is int for edge in span)
        if not whole or not before <= span[0] < span[1] <= most:
            raise UsageError(f"{SPANS_KEY}={given!r}: must be ordered, disjoint [start, end] pairs inside the prompt")
        spans.append((span[0], span[1]))
        before = span[1]
    return tuple(spans)
