"""Language models behind OpenAI-compatible servers: one client with cache, budget, retries and checked replies."""

from mnemic.llm.budget import Budget, Price
from mnemic.llm.cache import ResponseCache
from mnemic.llm.client import LLMClient
from mnemic.llm.endpoints import Endpoint
from mnemic.llm.errors import (
    BadReply,
    BudgetExhausted,
    CacheFailed,
    CircuitOpen,
    EndpointFailed,
    EndpointRefused,
    EndpointUnavailable,
    LLMError,
    Stopped,
)
from mnemic.llm.fake import FakeLLM
from mnemic.llm.protocol import LLM, Completion, Metered, MeteredLLM, Totals, Usage
from mnemic.llm.retries import Retries

__all__ = [
    "BadReply",
    "Budget",
    "BudgetExhausted",
    "CacheFailed",
    "CircuitOpen",
    "Completion",
    "Endpoint",
    "EndpointFailed",
    "EndpointRefused",
    "EndpointUnavailable",
    "FakeLLM",
    "LLM",
    "LLMClient",
    "LLMError",
    "Metered",
    "MeteredLLM",
    "Price",
    "ResponseCache",
    "Retries",
    "Stopped",
    "Totals",
    "Usage",
]
