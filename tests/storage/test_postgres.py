"""What only PostgreSQL promises: row-level security, its own schema, and clear words where there is no server."""

from collections.abc import Iterator
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from hashing_encoder import HashingEncoder
from postgres_server import drop_schema, with_schema

from mnemic.errors import MnemicError, UsageError
from mnemic.storage import searching
from mnemic.storage.postgres_schema import connection_string
from mnemic.storage.records import Event
from mnemic.storage.schema import for_postgres
from mnemic.storage.store import MemoryStore


@pytest.fixture
def dsn(postgres: str) -> Iterator[str]:
    schema = f"test_{uuid4().hex}"
    yield with_schema(postgres, schema)
    drop_schema(postgres, schema)


def open_store(dsn: str, **options: object) -> MemoryStore:
    return MemoryStore.open(dsn, encoder=HashingEncoder(), **options)  # type: ignore[arg-type]


def test_the_database_itself_shows_a_tenant_no_other(dsn: str) -> None:
    for tenant in ("a", "b"):
        with open_store(dsn, tenant=tenant) as store:
            store.add(f"secret of {tenant}", facts=[(tenant, "has", "a secret")])
    conninfo, schema = connection_string(dsn)
    with psycopg.connect(conninfo, options=f"-c search_path={schema}") as connection:
        tables = ("event", "passage", "entity", "mention", "fact", "fact_source", "vector", "audit")
        assert {connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables} == {(0,)}
        [(number,)] = connection.execute("SELECT seq FROM tenant WHERE name = 'a'").fetchall()
        connection.execute("SELECT set_config('app.tenant_id', %s, false)", (str(number),))
        assert connection.execute("SELECT content FROM event").fetchall() == [("secret of a",)]
        assert connection.execute("DELETE FROM event WHERE content LIKE '%of b'").rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE entity SET tenant = tenant + 1")


def test_a_later_schema_and_a_missing_one_are_refused(dsn: str) -> None:
    with pytest.raises(UsageError, match="open it once for writing"):
        open_store(dsn, read_only=True)
    with open_store(dsn) as store:
        store.add("x")
    conninfo, schema = connection_string(dsn)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"INSERT INTO {schema}.schema_version VALUES (99)")
    with pytest.raises(UsageError, match=r"schema 99.*newer mnemic"):
        open_store(dsn)


def test_a_reader_may_not_write(dsn: str) -> None:
    with open_store(dsn) as store:
        store.add("one thing")
    with open_store(dsn, read_only=True) as reader:
        assert len(reader.search("thing", method="hybrid")) == 1
        with pytest.raises(UsageError, match="read_only=True"):
            reader.add("another")


def test_pgvector_finds_nearly_all_of_the_nearest(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(1)
    words = [f"word{number}" for number in range(60)]
    events = [Event(f"item {i} {' '.join(chance.choice(words, 6))}", source=str(i)) for i in range(900)]
    asked = [" ".join(words[i : i + 3]) for i in range(0, 60, 3)]
    with open_store(dsn, tenant="other") as other, open_store(dsn) as store:
        other.add(events)
        gone = [name or "" for name in store.add(events).ids][:300]
        store.erase(gone)

        def nearest() -> list[set[str]]:
            return [{hit.id for hit in store.search(question, method="dense", k=10)} for question in asked]

        exact = nearest()
        monkeypatch.setattr(searching, "EXACT_UP_TO", 300)
        used: list[object] = []
        find = store._searcher._from_database
        monkeypatch.setattr(store._searcher, "_from_database", lambda *a: used.append(find(*a)) or used[-1])
        found = nearest()
        assert all(places is not None and len(places) >= 90 for places in used)  # type: ignore[arg-type]
        assert len(used) == len(asked)
        assert np.mean([len(a & b) / len(b) for a, b in zip(found, exact, strict=True)]) > 0.97
        wanted = store.search(events[500].text, method="dense", k=1)
        assert wanted[0].text == events[500].text


def test_no_server_and_a_wrong_schema_are_said_without_the_password() -> None:
    with pytest.raises(MnemicError, match="cannot be reached") as told:
        open_store("postgresql://me:hush@127.0.0.1:1/db")
    assert "hush" not in str(told.value)
    with pytest.raises(UsageError, match="schema 'a;b'"):
        open_store("postgresql://127.0.0.1:1/db?schema=a;b")


def test_text_that_postgresql_cannot_hold_is_wrong_use(dsn: str) -> None:
    with open_store(dsn) as store:
        store.add("x")
        for wrong in (
            lambda: store.facts(predicate="a\0b"),
            lambda: store.get("\ud800"),
            lambda: store.forget(["a\0"]),
        ):
            with pytest.raises(UsageError):
                wrong()


def test_the_tables_are_the_same_but_for_their_types() -> None:
    made = for_postgres("CREATE TABLE t (seq INTEGER PRIMARY KEY AUTOINCREMENT, a INTEGER, b BLOB, c REAL) STRICT")
    assert made == (
        "CREATE TABLE t (seq BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a BIGINT, b BYTEA, "
        "c DOUBLE PRECISION)"
    )
