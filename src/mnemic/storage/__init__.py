"""The memory store, and the recall methods that work on it. Public names load on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnemic.storage.aio import AsyncMemoryStore
    from mnemic.storage.encoders import open_encoder
    from mnemic.storage.records import AddReport, Event, FactRecord, Hit, NewFact
    from mnemic.storage.store import MemoryStore

_LAZY = {
    "AddReport": "mnemic.storage.records",
    "AsyncMemoryStore": "mnemic.storage.aio",
    "Event": "mnemic.storage.records",
    "FactRecord": "mnemic.storage.records",
    "Hit": "mnemic.storage.records",
    "MemoryStore": "mnemic.storage.store",
    "NewFact": "mnemic.storage.records",
    "open_encoder": "mnemic.storage.encoders",
}

__all__ = ["AddReport", "AsyncMemoryStore", "Event", "FactRecord", "Hit", "MemoryStore", "NewFact", "open_encoder"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mnemic.storage' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
