"""The tables in PostgreSQL: made, brought up to date, and guarded by row-level security."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from mnemic.errors import UsageError
from mnemic.storage.schema import MIGRATIONS, SCHEMA_VERSION, for_postgres, statements

__all__ = ["connection_string", "has_vectors", "prepare"]

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_LOCK = 0x6D6E656D  # two servers that start at once make the tables one after the other
_OLDEST = 150000
_NO_PRIVILEGE = "42501"
_KEYWORDS = """
ALTER TABLE passage ADD COLUMN keywords tsvector;
CREATE INDEX passage_keywords ON passage USING gin (keywords);
"""
_NEAREST = """
CREATE TABLE nearest (
  tenant BIGINT NOT NULL, encoder BIGINT NOT NULL REFERENCES encoder (seq),
  passage BIGINT NOT NULL REFERENCES passage (seq) ON DELETE CASCADE, embedding halfvec NOT NULL,
  PRIMARY KEY (passage, encoder)
);
"""
_GUARDED = (
    "event", "passage", "entity", "mention", "cooccurrence", "fact", "fact_source", "synonym", "vector", "job", "audit",
)  # fmt: skip
_POLICY = "tenant = NULLIF(current_setting('app.tenant_id', true), '')::bigint"


def connection_string(dsn: str) -> tuple[str, str]:
    """What the driver takes, and the schema that the tables lie in."""
    parts = urlsplit(dsn)
    options = parse_qsl(parts.query, keep_blank_values=True)
    schema = dict(options).get("schema", "mnemic")
    if not _NAME.fullmatch(schema):
        raise UsageError(f"schema '{schema}' of the store: must be lower-case letters, digits and _")
    kept = [(name, value) for name, value in options if name != "schema"]
    return urlunsplit(parts._replace(query=urlencode(kept))), schema


def prepare(connection: Any, schema: str, location: str, *, read_only: bool) -> None:
    """Make the tables where there are none, migrate older ones, refuse newer ones.

    Raises:
        UsageError: the server or the tables cannot be used.
    """
    if connection.info.server_version < _OLDEST:
        raise UsageError(
            f"store '{location}': PostgreSQL {connection.info.server_version // 10_000} is too old; 15 or later"
        )
    version = _version(connection, schema)
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"store '{location}' is of schema {version}, but this mnemic knows up to {SCHEMA_VERSION}; "
            "a newer mnemic wrote it: upgrade with pip install --upgrade mnemic"
        )
    if read_only and version < SCHEMA_VERSION:
        missing = "does not exist" if version == 0 else f"is of schema {version}"
        raise UsageError(f"store '{location}' {missing}; open it once for writing")
    if read_only or (version == SCHEMA_VERSION and has_vectors(connection, schema)):
        return
    # the lock is held from before the transaction begins: within one, a table that another has just made goes unseen
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        with connection.transaction():
            _migrate(connection, schema, _version(connection, schema))
        _add_nearest(connection, schema)
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def _version(connection: Any, schema: str) -> int:
    row = connection.execute("SELECT to_regclass(%s)", (f"{schema}.schema_version",)).fetchone()
    if row is None or row[0] is None:
        return 0
    found = connection.execute(f"SELECT max(version) FROM {schema}.schema_version").fetchone()
    return int(found[0]) if found and found[0] is not None else 0


def _migrate(connection: Any, schema: str, found: int) -> None:
    if found == SCHEMA_VERSION:
        return
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    connection.execute(f"SET LOCAL search_path = {schema}, public")
    if found == 0:
        connection.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)")
    for number in range(found, SCHEMA_VERSION):
        for statement in statements(for_postgres(MIGRATIONS[number])):
            connection.execute(statement)
        connection.execute("INSERT INTO schema_version VALUES (%s)", (number + 1,))
    if found == 0:
        for statement in statements(_KEYWORDS):
            connection.execute(statement)
        for table in _GUARDED:
            _guard(connection, table)


def _guard(connection: Any, table: str) -> None:
    """A tenant's rows are seen and written by who has named it in this transaction, and by nobody else."""
    connection.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    connection.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    connection.execute(f"CREATE POLICY own_rows ON {table} USING ({_POLICY}) WITH CHECK ({_POLICY})")


def has_vectors(connection: Any, schema: str) -> bool:
    """pgvector is there, and the table that it searches."""
    row = connection.execute("SELECT to_regclass(%s)", (f"{schema}.nearest",)).fetchone()
    return row is not None and row[0] is not None


def _add_nearest(connection: Any, schema: str) -> None:
    """The table for pgvector, where the server has it; without it, every vector is looked at."""
    if has_vectors(connection, schema):
        return
    if not connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone():
        if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone():
            return
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        except Exception as error:
            if getattr(error, "sqlstate", None) == _NO_PRIVILEGE:  # whoever runs the server has not made it
                return
            raise
    with connection.transaction():
        connection.execute(f"SET LOCAL search_path = {schema}, public")
        for statement in statements(_NEAREST):
            connection.execute(statement)
        _guard(connection, "nearest")
