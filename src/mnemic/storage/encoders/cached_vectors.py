"""Vectors that were slow to make, kept in a SQLite file. It is a cache: what is damaged is made anew."""

import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import MnemicError
from mnemic.storage.encoder import Encoder

__all__ = ["CachedEncoder"]

_AT_ONCE = 256
_TABLE = """
CREATE TABLE IF NOT EXISTS vectors (revision TEXT NOT NULL, text BLOB NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (revision, text)) WITHOUT ROWID
"""


class CachedEncoder:
    """An encoder that makes each vector once. Many threads and processes may use one file; encoders may share it.

    Args:
        encoder: makes what is not there yet.
        path: the file; one that is damaged is replaced.

    Raises:
        MnemicError: the file cannot be written.
    """

    def __init__(self, encoder: Encoder, path: Path) -> None:
        self.name = encoder.name
        self.revision = encoder.revision
        self.dim = encoder.dim
        self._encoder = encoder
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db = _opened(path)
            except sqlite3.DatabaseError as wrong:
                if wrong.sqlite_errorcode not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                    raise
                for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                    file.unlink(missing_ok=True)
                self._db = _opened(path)
        except (OSError, sqlite3.Error) as wrong:
            raise MnemicError(f"cannot use '{path}' as a cache of vectors: {wrong}") from wrong

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.encode`."""
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for first in range(0, len(texts), _AT_ONCE):
            batch = texts[first : first + _AT_ONCE]
            vectors[first : first + len(batch)] = self._batch(batch)
        return vectors

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _batch(self, texts: Sequence[str]) -> NDArray[np.float32]:
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        known = dict(self._read(keys))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            made = self._encoder.encode(list(missing.values()))
            self._write(list(missing), made)
            known |= zip(missing, made, strict=True)
        return np.stack([known[key] for key in keys])

    def _read(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
        marks = ", ".join("?" * len(keys))
        query = f"SELECT text, vector FROM vectors WHERE revision = ? AND text IN ({marks})"
        with self._lock:
            rows = self._db.execute(query, (self.revision, *keys)).fetchall()
        for key, data in rows:
            if len(data) == 4 * self.dim:
                yield key, np.frombuffer(data, "<f4").astype(np.float32)

    def _write(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        rows = [(self.revision, key, vector.astype("<f4").tobytes()) for key, vector in zip(keys, vectors, strict=True)]
        with self._lock, self._db:
            self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=60, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        with db:
            db.execute(_TABLE)
        with closing(db.execute("SELECT * FROM vectors LIMIT 1")) as rows:
            rows.fetchone()
    except BaseException:
        db.close()
        raise
    return db
