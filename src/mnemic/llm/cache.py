"""Replies that were paid for, kept in a SQLite file."""

import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from mnemic.errors import UsageError
from mnemic.llm.errors import CacheFailed
from mnemic.llm.protocol import Usage

__all__ = ["CacheMode", "Reply", "ResponseCache"]

CacheMode = Literal["read-write", "read", "refresh", "off"]
_SCHEMA_VERSION = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, tag TEXT NOT NULL, text TEXT NOT NULL, cut_short INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, estimated INTEGER NOT NULL, at REAL NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Reply:
    """What an endpoint answered.

    Attributes:
        cut_short: the endpoint stopped at the limit of tokens.
    """

    text: str
    usage: Usage
    cut_short: bool = False


class ResponseCache:
    """Replies by the key of their request. What `put` has taken survives a killed process and a power cut.

    Many threads and processes may use one file.

    Raises:
        UsageError: the file is no such cache or cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _SCHEMA_VERSION):
                raise UsageError(
                    f"cache '{self.path}' was written by a later mnemic; update mnemic or name another file"
                )
            self._db.execute(_TABLE)
            self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        except (OSError, sqlite3.Error) as wrong:
            raise UsageError(f"cannot use '{self.path}' as a cache of replies: {wrong}") from wrong

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM replies").fetchone()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, key: str) -> Reply | None:
        """Raises CacheFailed when the file cannot be read."""
        columns = "text, cut_short, prompt_tokens, completion_tokens, estimated"
        with self._lock:
            try:
                row = self._db.execute(f"SELECT {columns} FROM replies WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error as failed:
                raise CacheFailed(f"cannot read the cache '{self.path}': {failed}") from failed
        return Reply(row[0], Usage(row[2], row[3], bool(row[4])), bool(row[1])) if row is not None else None

    def put(self, key: str, reply: Reply, *, model: str, tag: str) -> None:
        """Return when the reply is on disk.

        Raises:
            CacheFailed: it could not be written, because the disk is full, for instance.
        """
        usage = reply.usage
        numbers = (usage.prompt_tokens, usage.completion_tokens, usage.estimated, time.time())
        row = (key, model, tag, reply.text, reply.cut_short, *numbers)
        with self._lock:
            try:
                self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            except sqlite3.Error as failed:
                raise CacheFailed(f"cannot keep a reply in the cache '{self.path}': {failed}") from failed

    def forget(self, key: str) -> None:
        """So that the next call pays for another answer."""
        with self._lock:
            try:
                self._db.execute("DELETE FROM replies WHERE key = ?", (key,))
            except sqlite3.Error as failed:
                raise CacheFailed(f"cannot write the cache '{self.path}': {failed}") from failed

    def close(self) -> None:
        with self._lock:
            self._db.close()
