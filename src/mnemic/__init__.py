"""mnemic: memory for language models, and what it recalls and costs. Public names load on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnemic.version import __version__

if TYPE_CHECKING:
    from mnemic.models import MnemicConfig, MnemicForCausalLM, from_transformers
    from mnemic.storage import AsyncMemoryStore, MemoryStore
    from mnemic.tasks import parse_task

_LAZY = {
    "AsyncMemoryStore": "mnemic.storage",
    "MemoryStore": "mnemic.storage",
    "MnemicConfig": "mnemic.models",
    "MnemicForCausalLM": "mnemic.models",
    "from_transformers": "mnemic.models",
    "parse_task": "mnemic.tasks",
}

__all__ = [
    "AsyncMemoryStore",
    "MemoryStore",
    "MnemicConfig",
    "MnemicForCausalLM",
    "__version__",
    "from_transformers",
    "parse_task",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mnemic' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
