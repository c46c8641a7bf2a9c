"""The store in a PostgreSQL database: the same tables in a schema of their own, rows of each tenant behind row-level
security, many servers at once."""

import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import MissingExtra, MnemicError, UsageError
from mnemic.storage.backend import Row, Transaction, Vectors
from mnemic.storage.postgres_schema import connection_string, has_vectors, prepare

try:
    psycopg: Any = import_module("psycopg")
    pooling: Any = import_module("psycopg_pool")
except ModuleNotFoundError:
    raise MissingExtra("a store in PostgreSQL", "postgres") from None

__all__ = ["PostgresBackend"]

T = TypeVar("T")
_MOST_POSITIONS = 255  # of one word that a tsvector keeps
_CONNECT_SECONDS = 10.0
_INDEX_LOCK = 0x6D6E656E
_TERMS_AT_ONCE = 200
_WIDEST = 4_000  # numbers per vector of half precision that pgvector builds a graph of


@lru_cache(maxsize=512)
def _sql(sql: str) -> str:
    return sql.replace("?", "%s")


@dataclass
class _Server:
    """What is known of the server.

    Attributes:
        has_vectors: pgvector is there.
        ranks: `ts_rank` of a word that stands once, twice, ….
        complete: tenant, encoder -> the passage up to which all are known to be among the nearest.
    """

    has_vectors: bool
    ranks: NDArray[np.float64] | None = None
    complete: dict[tuple[int, int], int] = field(default_factory=dict)


class _Transaction:
    """See `backend.Transaction`."""

    def __init__(self, cursor: Any, server: "_Server") -> None:
        self._cursor, self._server = cursor, server

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        found: list[Row] = self._cursor.execute(_sql(sql), values).fetchall()
        return found

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        count: int = self._cursor.execute(_sql(sql), values).rowcount
        return count

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._cursor.executemany(_sql(sql), rows)

    def index_words(self, tenant: int, passages: Iterable[tuple[int, Sequence[str]]]) -> None:
        self.many(
            "UPDATE passage SET keywords = CAST(? AS tsvector) WHERE tenant = ? AND seq = ?",
            [(_vector(terms), tenant, passage) for passage, terms in passages],
        )

    def unindex_words(self, tenant: int, passages: Iterable[tuple[int, Sequence[str]]]) -> None:
        """Nothing to do: they go with the passage."""

    def find_words(self, tenant: int, terms: Sequence[str]) -> NDArray[np.int64]:
        """`ts_rank` of one word depends on nothing but how often it stands there, as `_vector` writes positions, and
        tells so twice as fast as taking the vectors apart."""
        found: list[NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
        for first in range(0, len(terms), _TERMS_AT_ONCE):
            part = [f"'{term}'" for term in terms[first : first + _TERMS_AT_ONCE]]
            ranks = ", ".join(["ts_rank(keywords, CAST(? AS tsquery))"] * len(part))
            rows = self.rows(
                f"SELECT seq, {ranks} FROM passage WHERE tenant = ? AND keywords @@ CAST(? AS tsquery)",
                (*part, tenant, " | ".join(part)),
            )
            table = np.array(rows, np.float64).reshape(-1, len(part) + 1)
            places, columns = np.nonzero(table[:, 1:])
            counts = self._counts(table[places, columns + 1])
            found.append(np.stack([columns + first, table[places, 0].astype(np.int64), counts], axis=1))
        return np.concatenate(found)

    def _counts(self, ranks: NDArray[np.float64]) -> NDArray[np.int64]:
        """How often a word stands where its `ts_rank` is this; the server says what it gives for each number."""
        if self._server.ranks is None:
            samples = [_vector(["a"] * count) for count in range(1, _MOST_POSITIONS + 1)]
            rows = self.rows(
                "SELECT ts_rank(CAST(v AS tsvector), 'a') "
                "FROM unnest(CAST(? AS text[])) WITH ORDINALITY s (v, n) ORDER BY n",
                (samples,),
            )
            self._server.ranks = np.array(rows, np.float64)[:, 0]
        return np.searchsorted(self._server.ranks, ranks * (1 - 1e-7)).astype(np.int64) + 1

    def index_vectors(self, tenant: int, encoder: int, passages: Sequence[int], vectors: Vectors) -> None:
        """In half precision, which is for choosing candidates; the store's own vectors decide."""
        dim = vectors.shape[1]
        if not self._server.has_vectors or dim > _WIDEST or not len(passages):
            return
        if not self.rows("SELECT to_regclass(?)", (f"nearest_{encoder}",))[0][0]:
            self.run("SELECT pg_advisory_xact_lock(?)", (_INDEX_LOCK,))
            self.run(
                f"CREATE INDEX IF NOT EXISTS nearest_{encoder} ON nearest USING hnsw "
                f"((CAST(embedding AS halfvec({dim}))) halfvec_ip_ops) WHERE encoder = {encoder}"
            )
        self.many(
            "INSERT INTO nearest (tenant, encoder, passage, embedding) VALUES (?, ?, ?, CAST(? AS halfvec)) "
            "ON CONFLICT DO NOTHING",
            [(tenant, encoder, passage, _half(vector)) for passage, vector in zip(passages, vectors, strict=True)],
        )

    def drop_vectors(self, tenant: int, encoder: int) -> None:
        if self._server.has_vectors:
            self.run("DELETE FROM nearest WHERE tenant = ? AND encoder <> ?", (tenant, encoder))

    def find_nearest(self, tenant: int, encoder: int, query: Vectors, count: int) -> list[int] | None:
        dim = len(query)
        if not self._server.has_vectors or dim > _WIDEST:
            return None
        seen = self._server.complete.get((tenant, encoder), 0)
        missing = self.rows(
            "SELECT 1 FROM passage p WHERE p.tenant = ? AND p.seq > ? AND NOT EXISTS "
            "(SELECT 1 FROM nearest n WHERE n.passage = p.seq AND n.encoder = ?) LIMIT 1",
            (tenant, seen, encoder),
        )
        if missing:  # the extension came after them
            return None
        [(last,)] = self.rows("SELECT MAX(seq) FROM passage WHERE tenant = ?", (tenant,))
        self._server.complete[tenant, encoder] = last or 0
        self.run(f"SET LOCAL hnsw.ef_search = {min(max(2 * count, 100), 1000)}")
        self.run("SET LOCAL hnsw.iterative_scan = relaxed_order")  # other tenants' vectors are passed over
        rows = self.rows(
            f"SELECT passage FROM nearest WHERE encoder = {encoder} AND tenant = ? "
            f"ORDER BY CAST(embedding AS halfvec({dim})) <#> CAST(? AS halfvec({dim})) LIMIT ?",
            (tenant, _half(query), count),
        )
        return [row[0] for row in rows]

    def claim_jobs(
        self, tenant: int, now: int, lease_until: int, owner: str, kinds: Sequence[str], count: int
    ) -> list[int]:
        waiting = [
            row[0]
            for row in self.rows(
                "SELECT seq FROM job WHERE tenant = ? AND kind = ANY(?) "
                "AND ((state IN ('queued', 'failed') AND run_after <= ?) "
                "OR (state = 'running' AND lease_until <= ?)) ORDER BY run_after, seq LIMIT ? FOR UPDATE SKIP LOCKED",
                (tenant, list(kinds), now, now, count),
            )
        ]
        self.run(
            "UPDATE job SET state = 'running', attempts = attempts + 1, lease_until = ?, owner = ?, updated_at = ? "
            "WHERE seq = ANY(?)",
            (lease_until, owner, now, waiting),
        )
        return waiting


def _half(vector: Vectors) -> str:
    return "[" + ",".join(f"{value:.5g}" for value in vector.tolist()) + "]"


def _vector(terms: Sequence[str]) -> str:
    """A tsvector with as many positions as a term has places; letters and digits need no escape."""
    counts: dict[str, int] = {}
    for term in terms:
        counts[term] = min(counts.get(term, 0) + 1, _MOST_POSITIONS)
    return " ".join(f"'{term}':{','.join(map(str, range(1, count + 1)))}" for term, count in counts.items())


class PostgresBackend:
    """See `backend.Backend`.

    Args:
        dsn: "postgresql://user@host/database"; "?schema=NAME" puts the tables there instead of in "mnemic".
    """

    def __init__(self, dsn: str, *, read_only: bool = False) -> None:
        parts = urlsplit(dsn)
        self.location = f"postgresql://{parts.hostname or ''}{parts.path}"
        self.read_only = read_only
        self._conninfo, self._schema = connection_string(dsn)
        self._closed = False
        try:
            with psycopg.connect(self._conninfo, autocommit=True, connect_timeout=int(_CONNECT_SECONDS)) as connection:
                prepare(connection, self._schema, self.location, read_only=read_only)
                self._server = _Server(has_vectors(connection, self._schema))
            self._pool = pooling.ConnectionPool(
                self._conninfo,
                min_size=1,
                max_size=16,
                timeout=60.0,
                kwargs={"autocommit": True, "options": f"-c search_path={self._schema},public"},
                check=pooling.ConnectionPool.check_connection,
                open=True,
            )
        except psycopg.Error as error:
            raise self._explained(error) from error

    def write(self, work: Callable[[Transaction], T], tenant: int | None = None) -> T:
        if self.read_only:
            raise UsageError(f"store '{self.location}' was opened with read_only=True; open it without to write")
        return self._run(work, tenant, "")

    def read(self, work: Callable[[Transaction], T], tenant: int | None = None) -> T:
        return self._run(work, tenant, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    def _run(self, work: Callable[[Transaction], T], tenant: int | None, mode: str) -> T:
        if self._closed:
            raise UsageError(f"store '{self.location}' is closed")
        try:
            with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
                if mode:
                    cursor.execute(mode)
                cursor.execute("SELECT set_config('app.tenant_id', %s, true)", ("" if tenant is None else str(tenant),))
                return work(_Transaction(cursor, self._server))
        except (psycopg.Error, pooling.PoolTimeout) as error:
            raise self._explained(error) from error
        except UnicodeEncodeError as error:
            raise UsageError(f"text has half a character at {error.start}; decode it with the right encoding") from None

    def _explained(self, error: Exception) -> MnemicError:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        if isinstance(error, psycopg.DataError):
            return UsageError(f"store '{self.location}': {reason}")
        if isinstance(error, psycopg.errors.DiskFull):
            return MnemicError(f"store '{self.location}': the disk is full; nothing of this write was kept")
        if isinstance(error, psycopg.OperationalError):
            return MnemicError(f"store '{self.location}' cannot be reached: {reason}")
        return MnemicError(f"store '{self.location}': {reason}")

    def size(self) -> int:
        sql = (
            "SELECT COALESCE(SUM(pg_total_relation_size(c.oid)), 0) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relkind = 'r'"
        )
        return int(self.read(lambda tx: tx.rows(sql, (self._schema,)))[0][0])

    def check(self) -> list[str]:
        """The server guards its pages and references itself; what is left is the keyword index."""
        wrong: list[str] = []
        for (tenant,) in self.read(lambda tx: tx.rows("SELECT seq FROM tenant ORDER BY seq")):
            sql = "SELECT count(*) FROM passage WHERE tenant = ? AND keywords IS NULL"
            count = self.read(lambda tx, s=sql, t=tenant: tx.rows(s, (t,)), tenant)[0][0]  # type: ignore[misc]
            if count:
                wrong.append(f"{count} passages of tenant {tenant} have no keywords")
        return wrong

    def backup(self, path: Path) -> None:
        """By pg_dump, whose file pg_restore reads."""
        program = shutil.which("pg_dump")
        if program is None:
            raise UsageError("backup of a PostgreSQL store needs pg_dump, which is not installed; or use export")
        command = [
            program,
            "--format=custom",
            f"--schema={self._schema}",
            f"--file={path}",
            f"--dbname={self._conninfo}",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise MnemicError(f"backup of '{self.location}' failed: {done.stderr.strip()[:500]}")

    def scrub(self) -> None:
        """Rewrite the tables without what was deleted."""
        tables = self.read(lambda tx: tx.rows("SELECT tablename FROM pg_tables WHERE schemaname = ?", (self._schema,)))
        try:
            with self._pool.connection() as connection:
                for (table,) in tables:
                    connection.execute(f'VACUUM (FULL, ANALYZE) "{self._schema}"."{table}"')
        except (psycopg.Error, pooling.PoolTimeout) as error:
            raise self._explained(error) from error

    def cache(self, tenant: int) -> Path | None:
        """None: a server's memory is of one machine, the database's files of another."""
        return None

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pool.close()
