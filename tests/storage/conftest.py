"""Stores for tests, one after another in every database that mnemic can use."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hashing_encoder import HashingEncoder

from mnemic.storage.store import MemoryStore

Opener = Callable[..., MemoryStore]


@pytest.fixture
def location(tmp_path: Path) -> str:
    return str(tmp_path / "memory.db")


@pytest.fixture
def open_store(location: str) -> Iterator[Opener]:
    """Opens the test's store; what it opened is closed at the end."""
    opened: list[MemoryStore] = []

    def open_it(**options: Any) -> MemoryStore:
        store = MemoryStore.open(location, **{"encoder": HashingEncoder(), "actor": "tester", **options})
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Opener) -> MemoryStore:
    return open_store()
