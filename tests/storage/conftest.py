"""Stores for tests, one after another in every database that mnemic can use."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hashing_encoder import HashingEncoder
from postgres_server import drop_schema, postgres_server, with_schema

from mnemic.storage.store import MemoryStore

Opener = Callable[..., MemoryStore]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of a running server."""
    with postgres_server() as dsn:
        yield dsn


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place for a store that nobody else uses."""
    if request.param == "sqlite":
        yield str(tmp_path / "memory.db")
        return
    dsn = request.getfixturevalue("postgres")
    schema = f"test_{uuid4().hex}"
    yield with_schema(dsn, schema)
    drop_schema(dsn, schema)


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
