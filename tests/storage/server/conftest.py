"""Servers of stores, one after another in every database."""

from collections.abc import Iterator

import pytest
from hashing_encoder import HashingEncoder
from store_server import StoreServer, serving

from mnemic.storage.server.stores import Stores


@pytest.fixture
def stores(location: str) -> Iterator[Stores]:
    opened = Stores.open(location, encoder=HashingEncoder())
    yield opened
    opened.close()


@pytest.fixture
def server(stores: Stores) -> Iterator[StoreServer]:
    """One that asks for keys."""
    with serving(stores) as running:
        yield running


@pytest.fixture
def local(stores: Stores) -> Iterator[StoreServer]:
    """One without keys."""
    with serving(stores, tenant="anna") as running:
        yield running
