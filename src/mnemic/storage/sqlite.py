"""The store in one SQLite file: many readers, and one writer per process that takes its turn with other processes."""

import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.storage.backend import Row, Transaction, Vectors, marks
from mnemic.storage.sqlite_files import connect, explained, prepare

__all__ = ["SQLiteBackend"]

T = TypeVar("T")
_PATIENCE = 60.0  # seconds a write waits for other processes


class _Transaction:
    """See `backend.Transaction`. Terms carry their tenant's number, so that nobody's words meet another's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(sql, values).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(sql, rows)

    def index_words(self, tenant: int, passages: Iterable[tuple[int, Sequence[str]]]) -> None:
        self.many(
            "INSERT INTO passage_words (rowid, terms) VALUES (?, ?)",
            ((passage, _tokens(tenant, terms)) for passage, terms in passages),
        )

    def unindex_words(self, tenant: int, passages: Iterable[tuple[int, Sequence[str]]]) -> None:
        self.many(
            "INSERT INTO passage_words (passage_words, rowid, terms) VALUES ('delete', ?, ?)",
            ((passage, _tokens(tenant, terms)) for passage, terms in passages),
        )

    def find_words(self, tenant: int, terms: Sequence[str]) -> NDArray[np.int64]:
        found: list[NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
        for index, term in enumerate(terms):
            rows = self.rows(
                "SELECT doc, count(*) FROM passage_terms WHERE term = ? GROUP BY doc", (_tokens(tenant, [term]),)
            )
            table = np.full((len(rows), 3), index, np.int64)
            table[:, 1:] = np.fromiter(chain.from_iterable(rows), np.int64, 2 * len(rows)).reshape(-1, 2)
            found.append(table)
        return np.concatenate(found)

    def index_vectors(self, tenant: int, encoder: int, passages: Sequence[int], vectors: Vectors) -> None:
        """Nothing to do: `approximate.ApproximateIndex` reads what is new when it is asked."""

    def drop_vectors(self, tenant: int, encoder: int) -> None:
        """Nothing to do: a cache of another encoder is made anew."""

    def find_nearest(self, tenant: int, encoder: int, query: Vectors, count: int) -> list[int] | None:
        return None

    def claim_jobs(
        self, tenant: int, now: int, lease_until: int, owner: str, kinds: Sequence[str], count: int
    ) -> list[int]:
        waiting = [
            seq
            for (seq,) in self.rows(
                f"SELECT seq FROM job WHERE tenant = ? AND kind IN ({marks(kinds)}) "
                "AND ((state IN ('queued', 'failed') AND run_after <= ?) "
                "OR (state = 'running' AND lease_until <= ?)) ORDER BY run_after, seq LIMIT ?",
                (tenant, *kinds, now, now, count),
            )
        ]
        self.run(
            "UPDATE job SET state = 'running', attempts = attempts + 1, lease_until = ?, owner = ?, updated_at = ? "
            f"WHERE seq IN ({marks(waiting)})",
            (lease_until, owner, now, *waiting),
        )
        return waiting


def _tokens(tenant: int, terms: Sequence[str]) -> str:
    return " ".join(f"{tenant}x{term}" for term in terms)


class SQLiteBackend:
    """See `backend.Backend`.

    Args:
        full: every commit waits for the disk. Without it a power cut can take back the last commits, a crash of the
            process never; damaged is the file by neither.
        secure: what is deleted is overwritten.
    """

    def __init__(self, path: Path, *, read_only: bool = False, full: bool = False, secure: bool = False) -> None:
        self.location, self.read_only = str(path), read_only
        self._path, self._full, self._secure = path, full, secure
        prepare(path, read_only=read_only)
        self._process = os.getpid()
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._work: queue.SimpleQueue[Callable[[Callable[[], sqlite3.Connection]], None] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None

    def write(self, work: Callable[[Transaction], T], tenant: int | None = None) -> T:
        self._refuse_misuse()
        if self.read_only:
            raise UsageError(f"store '{self.location}' was opened with read_only=True; open it without to write")
        done: Future[T] = Future()

        def task(connection: Callable[[], sqlite3.Connection]) -> None:
            try:
                done.set_result(_written(connection(), work))
            except BaseException as error:
                done.set_exception(explained(error, self.location) if isinstance(error, sqlite3.Error) else error)

        with self._lock:
            if self._closed:
                raise UsageError(f"store '{self.location}' is closed")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_in_turn, name="mnemic-writer", daemon=True)
                self._writer.start()
            self._work.put(task)
        return done.result()

    def _write_in_turn(self) -> None:
        opened: list[sqlite3.Connection] = []

        def connection() -> sqlite3.Connection:
            if not opened:
                opened.append(connect(self._path, full=self._full, secure=self._secure))
            return opened[0]

        while (task := self._work.get()) is not None:
            task(connection)
        for each in opened:
            each.close()

    def read(self, work: Callable[[Transaction], T], tenant: int | None = None) -> T:
        with self._reader() as connection:
            connection.execute("BEGIN")
            try:
                return work(_Transaction(connection))
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        self._refuse_misuse()
        try:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            connection = connection or connect(self._path, read_only=self.read_only)
            try:
                yield connection
            finally:
                with self._lock:
                    kept = not self._closed and len(self._idle) < 8
                    if kept:
                        self._idle.append(connection)
                if not kept:
                    connection.close()
        except sqlite3.Error as error:
            raise explained(error, self.location) from error
        except UnicodeEncodeError as error:
            raise UsageError(f"text has half a character at {error.start}; decode it with the right encoding") from None

    def _refuse_misuse(self) -> None:
        if self._closed:
            raise UsageError(f"store '{self.location}' is closed")
        if os.getpid() != self._process:
            raise UsageError(f"store '{self.location}' was opened before a fork; open it in each process")

    def size(self) -> int:
        files = (self._path, *(self._path.with_name(self._path.name + end) for end in ("-wal", "-shm")))
        return sum(file.stat().st_size for file in files if file.exists())

    def check(self) -> list[str]:
        with self._reader() as connection:
            wrong = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            wrong += [
                f"row {row[1]} of {row[0]} points nowhere" for row in connection.execute("PRAGMA foreign_key_check")
            ]
            indexed, passages = (
                {row[0] for row in connection.execute(f"SELECT {column} FROM {table}")}
                for column, table in (("id", "passage_words_docsize"), ("seq", "passage"))
            )
            if indexed != passages:
                wrong.append(f"{len(indexed ^ passages)} passages and their keywords do not match")
            return wrong

    def backup(self, path: Path) -> None:
        with self._reader() as connection:
            target = sqlite3.connect(path)
            try:
                connection.backup(target)
            finally:
                target.close()

    def scrub(self) -> None:
        done = threading.Event()
        failed: list[sqlite3.Error] = []

        def task(writing: Callable[[], sqlite3.Connection]) -> None:
            try:
                connection = writing()
                connection.execute("INSERT INTO passage_words (passage_words) VALUES ('optimize')")
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.execute(f"PRAGMA secure_delete = {'ON' if self._secure else 'OFF'}")
            except sqlite3.Error as error:
                failed.append(error)
            finally:
                done.set()

        self.write(lambda transaction: None)  # refuses what may not be written, and starts the writer
        self._work.put(task)
        done.wait()
        if failed:
            raise explained(failed[0], self.location) from failed[0]

    def cache(self, tenant: int) -> Path | None:
        return self._path.with_name(f"{self._path.name}.{tenant}.vectors")

    def close(self) -> None:
        """Finish the writes that wait, then let go of the file."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._work.put(None)
            idle, self._idle = self._idle, []
        if self._writer is not None and os.getpid() == self._process:
            self._writer.join()
        for connection in idle:
            connection.close()


def _written(connection: sqlite3.Connection, work: Callable[[Transaction], T]) -> T:
    _begin(connection)
    try:
        result = work(_Transaction(connection))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _begin(connection: sqlite3.Connection) -> None:
    """Take the write lock; SQLite's own wait is not fair, so a writer among many asks again."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
