"""Which database a location names."""

import os
from pathlib import Path

from mnemic.errors import UsageError
from mnemic.storage.backend import Backend

__all__ = ["is_dsn", "open_backend"]


def is_dsn(location: str) -> bool:
    return location.startswith(("postgresql://", "postgres://"))


def open_backend(location: str | os.PathLike[str], *, read_only: bool, durability: str, secure_delete: bool) -> Backend:
    """The back end of a location; its tables are made where they are not there."""
    if durability not in ("normal", "full"):
        raise UsageError(f"durability is '{durability}'; must be normal or full")
    name = os.fspath(location)
    if not name or name == ":memory:":
        raise UsageError(f"store '{name}': name a file, such as memory.db, or a database, postgresql://…")
    scheme, found, _ = name.partition("://")
    if is_dsn(name):
        from mnemic.storage.postgres import PostgresBackend

        return PostgresBackend(name, read_only=read_only)
    if found:
        raise UsageError(f"store '{scheme}://…': unknown kind of database; give a file's name or postgresql://…")
    from mnemic.storage.sqlite import SQLiteBackend

    return SQLiteBackend(Path(name), read_only=read_only, full=durability == "full", secure=secure_delete)
