"""A store's server in a thread, on a real socket, and clients of it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import uvicorn

from mnemic.storage.api_keys import make_key
from mnemic.storage.server.app import make_app
from mnemic.storage.server.stores import Stores

__all__ = ["StoreServer", "serving"]


@dataclass
class StoreServer:
    """Attributes:
    keys: tenant -> a key of theirs.
    """

    stores: Stores
    url: str
    keys: dict[str, str] = field(default_factory=dict)
    clients: list[httpx2.Client] = field(default_factory=list)

    def key(self, tenant: str) -> str:
        if tenant not in self.keys:
            self.keys[tenant], _ = make_key(self.stores.backend, tenant, f"{tenant}'s")
        return self.keys[tenant]

    def client(self, tenant: str | None = "anna", **headers: str) -> httpx2.Client:
        """An HTTP client with a tenant's key; None: without one."""
        if tenant is not None:
            headers = {"Authorization": f"Bearer {self.key(tenant)}", **headers}
        self.clients.append(httpx2.Client(base_url=self.url, headers=headers, timeout=60))
        return self.clients[-1]


@contextmanager
def serving(stores: Stores, **options: Any) -> Iterator[StoreServer]:
    """Serve until the block ends. Options are those of `make_app`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        app = make_app(stores, **options)
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        running = StoreServer(stores, f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            yield running
        finally:
            for client in running.clients:
                client.close()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
