"""How much a tenant holds, and a digest of what it holds."""

import hashlib
import json
from dataclasses import dataclass

from mnemic.storage.backend import Backend, Row, Transaction

__all__ = ["Stats", "digest", "measure"]


@dataclass(frozen=True)
class Stats:
    """Attributes:
    events: those that are recalled; `forgotten` are not.
    facts: those that the store claims now.
    jobs: by state.
    bytes: of the whole database, all tenants.
    encoder: what made the vectors, None before the first.
    """

    events: int
    forgotten: int
    passages: int
    entities: int
    facts: int
    jobs: dict[str, int]
    bytes: int
    encoder: str | None


def measure(backend: Backend, tenant: int | None) -> Stats:
    if tenant is None:
        return Stats(0, 0, 0, 0, 0, {}, backend.size(), None)

    def work(tx: Transaction) -> Stats:
        def count(sql: str) -> int:
            return int(tx.rows(f"SELECT count(*) FROM {sql}", (tenant,))[0][0])

        encoder = tx.rows("SELECT e.name FROM tenant t JOIN encoder e ON e.seq = t.encoder WHERE t.seq = ?", (tenant,))
        return Stats(
            events=count("event WHERE tenant = ? AND forgotten_at IS NULL"),
            forgotten=count("event WHERE tenant = ? AND forgotten_at IS NOT NULL"),
            passages=count("passage WHERE tenant = ?"),
            entities=count("entity WHERE tenant = ?"),
            facts=count("fact WHERE tenant = ? AND retracted_at IS NULL AND superseded_by IS NULL"),
            jobs={
                state: int(number)
                for state, number in tx.rows(
                    "SELECT state, count(*) FROM job WHERE tenant = ? GROUP BY state ORDER BY state", (tenant,)
                )
            },
            bytes=backend.size(),
            encoder=encoder[0][0] if encoder else None,
        )

    return backend.read(work, tenant)


_CONTENTS = {  # without numbers, ids and times of writing, which differ between two stores with the same memory
    "event": "SELECT source, session, actor, title, occurred_at, content_hash, metadata, "
    "CASE WHEN forgotten_at IS NULL THEN 0 ELSE 1 END FROM event WHERE tenant = ?",
    "passage": "SELECT e.source, e.content_hash, e.occurred_at, p.level, p.ordinal, p.text, p.words, v.data "
    "FROM passage p JOIN event e ON e.seq = p.event "
    "LEFT JOIN vector v ON v.tenant = p.tenant AND v.kind = 'passage' AND v.owner = p.seq WHERE p.tenant = ?",
    "entity": "SELECT norm_name, type FROM entity WHERE tenant = ?",
    "mention": "SELECT n.norm_name, n.type, SUM(m.count), count(*) FROM mention m "
    "JOIN entity n ON n.seq = m.entity WHERE m.tenant = ? GROUP BY n.norm_name, n.type",
    "fact": "SELECT digest, valid_to, (SELECT count(*) FROM fact_source x WHERE x.fact = fact.seq) "
    "FROM fact WHERE tenant = ? AND retracted_at IS NULL",
}
_EDGES = (
    "SELECT a.norm_name, a.type, b.norm_name, b.type, SUM(c.count), count(*) FROM cooccurrence c "
    "JOIN entity a ON a.seq = c.first JOIN entity b ON b.seq = c.second WHERE c.tenant = ? "
    "GROUP BY c.first, c.second, a.norm_name, a.type, b.norm_name, b.type"
)


def digest(backend: Backend, tenant: int | None) -> str:
    """sha256 over everything that is remembered, with the graph edge for edge, and over no order."""
    whole = hashlib.sha256()
    if tenant is None:
        return whole.hexdigest()

    def work(tx: Transaction) -> None:
        parts = {name: tx.rows(sql, (tenant,)) for name, sql in _CONTENTS.items()}
        parts["edge"] = [
            (*sorted(((row[0], row[1]), (row[2], row[3]))), int(row[4]), row[5]) for row in tx.rows(_EDGES, (tenant,))
        ]
        for name, rows in parts.items():
            if rows:
                whole.update(name.encode())
                for line in sorted(map(_line, rows)):
                    whole.update(line)

    backend.read(work, tenant)
    return whole.hexdigest()


def _line(row: Row) -> bytes:
    plain = [hashlib.sha256(cell).hexdigest() if isinstance(cell, bytes | memoryview) else cell for cell in row]
    return json.dumps([int(cell) if type(cell).__name__ == "Decimal" else cell for cell in plain]).encode() + b"\n"
