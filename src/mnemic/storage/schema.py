"""The tables, once for both back ends: written as SQLite reads them, translated for PostgreSQL.

Integers named after a table hold its `seq`; what users see are the ids. Times are UTC microseconds. Edges between
entities are no table: `fact_source` and `cooccurrence` hold what supports them, one row per passage, and an edge is the
sum of its rows, so that a delete takes away exactly what the add has brought. In tables without rowid the key comes
first: the integrity check of SQLite 3.40 sees NULLs where another column does.
"""

import re

__all__ = ["MIGRATIONS", "SCHEMA_VERSION", "for_postgres", "statements"]

_TABLES = """
CREATE TABLE tenant (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, settings TEXT NOT NULL DEFAULT '{}',
  created_at INTEGER NOT NULL, encoder INTEGER,
  version INTEGER NOT NULL DEFAULT 0, rewrites INTEGER NOT NULL DEFAULT 0,
  linked INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE encoder (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, revision TEXT NOT NULL, dim INTEGER NOT NULL,
  UNIQUE (name, revision)
) STRICT;
CREATE TABLE event (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL REFERENCES tenant (seq), id TEXT NOT NULL,
  source TEXT NOT NULL, session TEXT NOT NULL, actor TEXT NOT NULL, title TEXT NOT NULL,
  occurred_at INTEGER, ingested_at INTEGER NOT NULL, content TEXT NOT NULL, content_hash TEXT NOT NULL,
  metadata TEXT NOT NULL, idempotency_key TEXT, forgotten_at INTEGER, version INTEGER NOT NULL DEFAULT 1,
  UNIQUE (tenant, id), UNIQUE (tenant, idempotency_key)
) STRICT;
CREATE UNIQUE INDEX event_same ON event (
  tenant, source, content_hash, COALESCE(occurred_at, -9223372036854775807)
);
CREATE INDEX event_session ON event (tenant, session);
CREATE TABLE passage (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL REFERENCES tenant (seq),
  event INTEGER NOT NULL REFERENCES event (seq) ON DELETE CASCADE, ordinal INTEGER NOT NULL,
  level TEXT NOT NULL, text TEXT NOT NULL, words INTEGER NOT NULL,
  UNIQUE (event, level, ordinal)
) STRICT;
CREATE INDEX passage_tenant ON passage (tenant, seq);
CREATE TABLE entity (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL REFERENCES tenant (seq),
  name TEXT NOT NULL, norm_name TEXT NOT NULL, type TEXT NOT NULL, UNIQUE (tenant, norm_name, type)
) STRICT;
CREATE TABLE mention (
  passage INTEGER NOT NULL REFERENCES passage (seq) ON DELETE CASCADE,
  entity INTEGER NOT NULL REFERENCES entity (seq), tenant INTEGER NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (passage, entity)
) STRICT, WITHOUT ROWID;
CREATE INDEX mention_entity ON mention (entity);
CREATE TABLE cooccurrence (
  passage INTEGER NOT NULL REFERENCES passage (seq) ON DELETE CASCADE, first INTEGER NOT NULL,
  second INTEGER NOT NULL, tenant INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (passage, first, second)
) STRICT, WITHOUT ROWID;
CREATE TABLE fact (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL REFERENCES tenant (seq), id TEXT NOT NULL,
  digest TEXT NOT NULL, subject INTEGER NOT NULL REFERENCES entity (seq), predicate TEXT NOT NULL,
  object INTEGER REFERENCES entity (seq), object_text TEXT NOT NULL,
  valid_from INTEGER, valid_to INTEGER, recorded_at INTEGER NOT NULL, retracted_at INTEGER, superseded_by TEXT,
  confidence REAL, extractor TEXT NOT NULL, UNIQUE (tenant, id)
) STRICT;
CREATE UNIQUE INDEX fact_same ON fact (tenant, digest) WHERE retracted_at IS NULL AND superseded_by IS NULL;
CREATE INDEX fact_subject ON fact (subject);
CREATE INDEX fact_object ON fact (object);
CREATE TABLE fact_source (
  fact INTEGER NOT NULL REFERENCES fact (seq) ON DELETE CASCADE,
  passage INTEGER NOT NULL REFERENCES passage (seq) ON DELETE CASCADE, tenant INTEGER NOT NULL,
  PRIMARY KEY (fact, passage)
) STRICT, WITHOUT ROWID;
CREATE INDEX fact_source_passage ON fact_source (passage);
CREATE TABLE synonym (
  first INTEGER NOT NULL REFERENCES entity (seq) ON DELETE CASCADE,
  second INTEGER NOT NULL REFERENCES entity (seq) ON DELETE CASCADE, tenant INTEGER NOT NULL, weight REAL NOT NULL,
  PRIMARY KEY (first, second)
) STRICT, WITHOUT ROWID;
CREATE INDEX synonym_second ON synonym (second);
CREATE INDEX synonym_tenant ON synonym (tenant);
CREATE TABLE vector (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL, kind TEXT NOT NULL, owner INTEGER NOT NULL,
  encoder INTEGER NOT NULL REFERENCES encoder (seq), data BLOB NOT NULL, UNIQUE (tenant, kind, encoder, owner)
) STRICT;
CREATE TABLE job (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL REFERENCES tenant (seq), id TEXT NOT NULL,
  kind TEXT NOT NULL, event INTEGER REFERENCES event (seq) ON DELETE CASCADE, state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  run_after INTEGER NOT NULL, lease_until INTEGER, owner TEXT, tokens_in INTEGER NOT NULL DEFAULT 0,
  tokens_out INTEGER NOT NULL DEFAULT 0, cost REAL, error TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, UNIQUE (tenant, id)
) STRICT;
CREATE INDEX job_next ON job (tenant, state, run_after);
CREATE INDEX job_event ON job (event);
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant INTEGER NOT NULL REFERENCES tenant (seq), at INTEGER NOT NULL,
  actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, before_hash TEXT, after_hash TEXT
) STRICT;
CREATE INDEX audit_subject ON audit (tenant, subject);
"""

_KEYS = """
CREATE TABLE api_key (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant INTEGER NOT NULL REFERENCES tenant (seq),
  name TEXT NOT NULL, hash TEXT NOT NULL, created_at INTEGER NOT NULL, revoked_at INTEGER
) STRICT;
"""

MIGRATIONS: tuple[str, ...] = (_TABLES, _KEYS)  # number n leads from version n to n + 1; what is released never changes
SCHEMA_VERSION = len(MIGRATIONS)

_TYPES = (
    (re.compile(r"\bseq INTEGER PRIMARY KEY AUTOINCREMENT"), "seq BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
    (re.compile(r"\bINTEGER\b"), "BIGINT"),
    (re.compile(r"\bREAL\b"), "DOUBLE PRECISION"),
    (re.compile(r"\bBLOB\b"), "BYTEA"),
    (re.compile(r"\) STRICT(, WITHOUT ROWID)?"), ")"),
)


def statements(script: str) -> list[str]:
    """The single statements of a script; none of them holds a semicolon."""
    return [statement for part in script.split(";") if (statement := part.strip())]


def for_postgres(script: str) -> str:
    """The same tables as PostgreSQL reads them."""
    for pattern, instead in _TYPES:
        script = pattern.sub(instead, script)
    return script
