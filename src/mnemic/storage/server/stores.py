"""One database, opened once, and the memory of each of its tenants."""

import os
import threading
from collections import OrderedDict
from typing import Self

from mnemic.storage.api_keys import ApiKey, has_keys, who_has
from mnemic.storage.backend import Backend
from mnemic.storage.encoder import Encoder
from mnemic.storage.encoders import DEFAULT_ENCODER, open_encoder
from mnemic.storage.opening import open_backend
from mnemic.storage.store import MemoryStore
from mnemic.storage.tenants import find_tenant

__all__ = ["Stores"]

_MOST_OPEN = 256  # tenants whose passages are held in memory


class Stores:
    """The memories of all tenants over one back end, hence one writer. Safe to use from threads.

    Args:
        backend: closed by `close`.
        encoder: of tenants that have no vectors yet, or its name; the others keep theirs.
    """

    def __init__(self, backend: Backend, *, encoder: Encoder | str = DEFAULT_ENCODER) -> None:
        self.backend = backend
        self._encoders: dict[str, Encoder] = {}
        self._new = encoder if isinstance(encoder, str) else encoder.name
        if not isinstance(encoder, str):
            self._encoders[encoder.name] = encoder
        self._lock, self._loading = threading.Lock(), threading.Lock()
        self._open: OrderedDict[str, tuple[MemoryStore, Encoder]] = OrderedDict()

    @classmethod
    def open(
        cls, location: str | os.PathLike[str], *, encoder: Encoder | str = DEFAULT_ENCODER, durability: str = "normal"
    ) -> Self:
        """Open a store for serving, and make it where there is none.

        Raises:
            UsageError: the store cannot be opened so.
            MnemicError: it cannot be written.
        """
        stores = cls(
            open_backend(location, read_only=False, durability=durability, secure_delete=False), encoder=encoder
        )
        try:
            stores.check_writable()
        except BaseException:
            stores.close()
            raise
        return stores

    def of(self, tenant: str) -> MemoryStore:
        """A tenant's memory, with the encoder that its vectors are of by now."""
        found = self.backend.read(lambda tx: find_tenant(tx, tenant))
        encoder = self._encoder(self._new if found is None or found.encoder is None else found.encoder[0])
        with self._lock:
            store, made_with = self._open.pop(tenant, (None, None))
            if store is None or made_with is not encoder:
                store = MemoryStore(self.backend, tenant=tenant, encoder=encoder, actor="server")
            self._open[tenant] = store, encoder
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
        return store

    def _encoder(self, name: str) -> Encoder:
        with self._loading:
            if name not in self._encoders:
                self._encoders[name] = open_encoder(name)
            return self._encoders[name]

    @property
    def location(self) -> str:
        """Where the database is, without a password."""
        return self.backend.location

    def who_has(self, key: str) -> ApiKey | None:
        """See `api_keys.who_has`."""
        return who_has(self.backend, key)

    def has_keys(self) -> bool:
        return has_keys(self.backend)

    def check_writable(self) -> None:
        """Raises:
        MnemicError: why the database takes no writes.
        """
        self.backend.write(lambda tx: tx.run("UPDATE tenant SET version = version WHERE seq = 0"))

    def close(self) -> None:
        """Finish what is being written, then let go of the database."""
        with self._lock:
            stores = [store for store, _ in self._open.values()]
        for store in stores:
            store.close()
        self.backend.close()
