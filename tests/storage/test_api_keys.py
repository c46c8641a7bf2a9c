"""Keys open what they were made for until they are revoked, and the store holds nothing that would open it."""

from pathlib import Path

import pytest

from mnemic.errors import UsageError
from mnemic.storage.api_keys import has_keys, list_keys, make_key, revoke_key, who_has
from mnemic.storage.backend import Backend
from mnemic.storage.conflicts import NotFound
from mnemic.storage.opening import open_backend


@pytest.fixture
def backend(location: str):
    opened = open_backend(location, read_only=False, durability="normal", secure_delete=False)
    yield opened
    opened.close()


def test_a_key_opens_its_tenant_until_it_is_revoked(backend: Backend) -> None:
    assert not has_keys(backend)
    first, about = make_key(backend, "anna", "laptop")
    second, _ = make_key(backend, "bela", "phone")
    assert who_has(backend, first) == about
    assert [key.tenant for key in list_keys(backend)] == ["anna", "bela"]
    assert revoke_key(backend, about.id).revoked_at is not None
    assert who_has(backend, first) is None
    other = who_has(backend, second)
    assert other is not None
    assert other.tenant == "bela"
    assert has_keys(backend)
    revoke_key(backend, other.id)
    assert not has_keys(backend)


def test_another_keys_secret_opens_nothing(backend: Backend) -> None:
    keys = [make_key(backend, tenant, "x")[0] for tenant in ("anna", "bela")]
    (_, one, secret), (_, two, _) = (key.split("_", 2) for key in keys)
    assert who_has(backend, f"mnemic_{two}_{secret}") is None
    for wrong in ("", "mnemic", f"mnemic_{one}", f"mnemic_{one}_", keys[0][:-1], keys[0] + "A", "mnemic_' OR 1=1_x"):
        assert who_has(backend, wrong) is None


def test_the_store_holds_no_key(backend: Backend, location: str) -> None:
    key, _ = make_key(backend, "anna", "laptop")
    secret = key.split("_", 2)[2]
    rows = backend.read(lambda tx: tx.rows("SELECT * FROM api_key"))
    assert secret not in str(rows)
    if not location.startswith("postgresql"):
        files = Path(location).parent.glob("memory.db*")
        assert all(secret.encode() not in file.read_bytes() for file in files)


def test_wrong_use_is_named(backend: Backend) -> None:
    with pytest.raises(UsageError, match="tenant"):
        make_key(backend, "", "x")
    with pytest.raises(UsageError, match="name"):
        make_key(backend, "anna", "a\nb")
    with pytest.raises(NotFound, match="keys list"):
        revoke_key(backend, "nothing")
