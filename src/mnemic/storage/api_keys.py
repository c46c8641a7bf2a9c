"""Keys that open one tenant's memory to who calls a server. The store keeps a hash of each, and never the key.

A key is "mnemic_ID_SECRET": its ID finds the row, and its SECRET, 256 random bits, is compared as a hash, in constant
time. One round of SHA-256 is enough: slow and salted hashes are against guessing, and nobody guesses 256 bits.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from mnemic.errors import UsageError
from mnemic.storage.backend import Backend, Transaction
from mnemic.storage.conflicts import NotFound
from mnemic.storage.tenants import check_name, make_tenant
from mnemic.storage.times import now

__all__ = ["ApiKey", "has_keys", "list_keys", "make_key", "revoke_key", "who_has"]

_PREFIX = "mnemic"
_LONGEST_NAME = 200
_COLUMNS = "k.id, t.name, k.name, k.created_at, k.revoked_at FROM api_key k JOIN tenant t ON t.seq = k.tenant"


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key; times are UTC microseconds.

    Attributes:
        tenant: whose memory it opens.
        name: what it is for.
        revoked_at: since when it opens nothing, None while it does.
    """

    id: str
    tenant: str
    name: str
    created_at: int
    revoked_at: int | None


def make_key(backend: Backend, tenant: str, name: str) -> tuple[str, ApiKey]:
    """A new key, which is told here and never again, and what the store knows of it."""
    check_name(tenant)
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise UsageError(f"name {name!r:.80} of a key: must be 1 to {_LONGEST_NAME} printable characters")
    secret, made = secrets.token_urlsafe(32), ApiKey(secrets.token_hex(6), tenant, name, now(), None)

    def work(tx: Transaction) -> None:
        tx.run(
            "INSERT INTO api_key (id, tenant, name, hash, created_at) VALUES (?, ?, ?, ?, ?)",
            (made.id, make_tenant(tx, tenant), name, _hash(secret), made.created_at),
        )

    backend.write(work)
    return f"{_PREFIX}_{made.id}_{secret}", made


def list_keys(backend: Backend) -> list[ApiKey]:
    """All keys, the oldest first."""
    return [ApiKey(*row) for row in backend.read(lambda tx: tx.rows(f"SELECT {_COLUMNS} ORDER BY k.seq"))]


def has_keys(backend: Backend) -> bool:
    """Some key opens something."""
    return bool(backend.read(lambda tx: tx.rows("SELECT 1 FROM api_key WHERE revoked_at IS NULL LIMIT 1")))


def revoke_key(backend: Backend, name: str) -> ApiKey:
    """From now on the key of that id opens nothing, on any server of the store.

    Raises:
        NotFound: there is no such key.
    """

    def work(tx: Transaction) -> ApiKey:
        tx.run("UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (now(), name))
        found = tx.rows(f"SELECT {_COLUMNS} WHERE k.id = ?", (name,))
        if not found:
            raise NotFound(f"key '{name:.80}' is not in this store; give the id that `mnemic keys list` shows")
        return ApiKey(*found[0])

    return backend.write(work)


def who_has(backend: Backend, given: str) -> ApiKey | None:
    """The key that was given; None where it opens nothing."""
    prefix, _, rest = given.partition("_")
    name, _, secret = rest.partition("_")
    if prefix != _PREFIX or not name.isalnum():
        return None
    found = backend.read(lambda tx: tx.rows(f"SELECT k.hash, {_COLUMNS} WHERE k.id = ?", (name,)))
    for kept, *columns in found:
        if hmac.compare_digest(kept, _hash(secret)) and columns[-1] is None:
            return ApiKey(*columns)
    return None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
