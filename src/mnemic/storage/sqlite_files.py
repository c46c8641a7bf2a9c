"""Opening an SQLite file: is it ours, does this version know it, and bringing an older one up to date."""

import os
import sqlite3
import time
from pathlib import Path

from mnemic.errors import MnemicError, UsageError
from mnemic.storage.schema import MIGRATIONS, SCHEMA_VERSION, statements

__all__ = ["BUSY_SECONDS", "connect", "explained", "prepare"]

BUSY_SECONDS = 10.0
_APPLICATION = 0x6D6E656D  # "mnem", in the header of the file
_WORDS = (
    "CREATE VIRTUAL TABLE passage_words USING fts5(terms, content='', tokenize='ascii')",
    "CREATE VIRTUAL TABLE passage_terms USING fts5vocab('passage_words', 'instance')",
)


def connect(path: Path, *, read_only: bool = False, full: bool = False, secure: bool = False) -> sqlite3.Connection:
    """A connection without implicit transactions, usable from any one thread at a time.

    Args:
        full: wait for the disk at every commit.
        secure: overwrite what is deleted.
    """
    if read_only:
        connection = _connect_read_only(path)
    else:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
        connection.execute(f"PRAGMA secure_delete = {'ON' if secure else 'OFF'}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -65536")
    return connection


def _connect_read_only(path: Path) -> sqlite3.Connection:
    """On a disk that cannot be written SQLite cannot make the shared index of its log; without a log none is needed."""
    place = "file:" + str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    has_log = path.with_name(path.name + "-wal").exists()
    ways = ["mode=ro"] if has_log or os.access(path.parent, os.W_OK) else ["mode=ro", "immutable=1"]
    for way in ways:
        connection = sqlite3.connect(
            f"{place}?{way}", uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            if way == ways[-1]:
                raise
        else:
            return connection
    raise AssertionError("a way was returned or raised")


def prepare(path: Path, *, read_only: bool) -> None:
    """Make the tables where there are none, migrate older ones, refuse what is not a store or is newer.

    Raises:
        UsageError: the file is none of ours, is not there, or was written by a later version.
        MnemicError: the file is damaged, or cannot be written.
    """
    if read_only and not path.is_file():
        raise UsageError(f"store '{path}' does not exist; a store opened for reading only is not made")
    if path.is_dir():
        raise UsageError(f"store '{path}' is a folder; name a file in it, such as '{path / 'memory.db'}'")
    if not path.parent.is_dir():
        raise UsageError(f"store '{path}': the folder '{path.parent}' does not exist")
    try:
        connection = connect(path, read_only=read_only)
        try:
            version = _version(connection, path)
            if version < SCHEMA_VERSION:
                if read_only:
                    raise UsageError(f"store '{path}' is of schema {version}; open it once for writing to migrate it")
                _migrate(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise explained(error, str(path)) from error


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if application != _APPLICATION:
        if version or application or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise UsageError(f"'{path}' is an SQLite database, but no mnemic store; name another file")
        return 0
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"store '{path}' is of schema {version}, but this mnemic knows up to {SCHEMA_VERSION}; "
            "a newer mnemic wrote it: upgrade with pip install --upgrade mnemic"
        )
    return version


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    found = _version(connection, path)
    if found == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    else:
        connection.execute("VACUUM INTO ?", (_backup_name(path, found),))
    _write_ahead(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version(connection, path)  # another process may have been faster
        for number in range(found, SCHEMA_VERSION):
            for statement in statements(MIGRATIONS[number]):
                connection.execute(statement)
        if found == 0:
            for statement in _WORDS:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _backup_name(path: Path, version: int) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return str(path.with_name(f"{path.name}.schema-{version}.{stamp}.{os.getpid()}.backup"))


def _write_ahead(connection: sqlite3.Connection) -> None:
    """The change of the journal's mode does not wait for other processes by itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname not in ("SQLITE_BUSY", "SQLITE_LOCKED") or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def explained(error: sqlite3.Error, location: str) -> MnemicError:
    """The error in words that say what to do."""
    code = str(getattr(error, "sqlite_errorname", ""))
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return MnemicError(f"store '{location}': another process has been writing for too long; try again")
    if code == "SQLITE_FULL":
        return MnemicError(f"store '{location}': the disk is full; nothing of this write was kept, all before it is")
    if code.startswith("SQLITE_READONLY"):
        return MnemicError(f"store '{location}' cannot be written; open it with read_only=True, or give write access")
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return MnemicError(
            f"'{location}' is damaged or no mnemic store ({error}); restore a backup, or name another file"
        )
    if code.startswith("SQLITE_CANTOPEN"):
        return MnemicError(f"store '{location}' cannot be opened; check that the file and its folder may be written")
    return MnemicError(f"store '{location}': {error}")
