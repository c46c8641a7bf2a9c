"""The OpenAI-compatible servers that options of the command line name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnemic.llm import Endpoint

__all__ = ["LLM_KEY", "endpoint_of"]

LLM_KEY = "OPENAI_API_KEY"


def endpoint_of(option: str, url: str, api_key_env: str | None, **limits: Any) -> Endpoint:
    """
    Args:
        option: that named the server, for messages.
        api_key_env: variable that holds the key; None: `LLM_KEY`, where it is set.
        limits: as `Endpoint` takes them.

    Raises:
        UsageError: the server cannot be asked so.
    """
    from mnemic.llm import Endpoint
    from mnemic.options import validated

    key = api_key_env or (LLM_KEY if os.environ.get(LLM_KEY) else None)
    return validated(f"{option} {url}", Endpoint, {"base_url": url, "api_key_env": key, **limits})
