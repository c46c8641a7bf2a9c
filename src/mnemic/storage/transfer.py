"""A tenant as JSON lines, for moving between databases: events, facts and the history. Vectors are made anew, and jobs
that wait stay behind.

The last line holds how many lines there are and the sha256 of them, so that half a file is never taken for a whole one.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mnemic.errors import MnemicError, UsageError
from mnemic.storage.backend import Backend, Transaction, batches, marks

__all__ = ["AUDIT_FIELDS", "FORMAT", "Imported", "export_tenant", "read_export"]

FORMAT = 1
_EVENTS = (
    "SELECT seq, id, source, session, actor, title, occurred_at, ingested_at, content, metadata, idempotency_key, "
    "forgotten_at, version FROM event WHERE tenant = ? AND seq > ? ORDER BY seq LIMIT 500"
)
_FACTS = (
    "SELECT f.seq, f.id, f.digest, s.name, s.norm_name, s.type, f.predicate, o.name, o.norm_name, o.type, "
    "f.object_text, f.valid_from, f.valid_to, f.recorded_at, f.retracted_at, f.superseded_by, f.confidence, "
    "f.extractor FROM fact f JOIN entity s ON s.seq = f.subject LEFT JOIN entity o ON o.seq = f.object "
    "WHERE f.tenant = ? ORDER BY f.seq"
)
AUDIT_FIELDS = ("at", "actor", "action", "subject", "before", "after")
_AUDIT = (
    "SELECT seq, at, actor, action, subject, before_hash, after_hash FROM audit WHERE tenant = ? AND seq > ? "
    "ORDER BY seq LIMIT 5000"
)


@dataclass(frozen=True)
class Imported:
    """How many events and facts were new, and how many were there already."""

    events: int
    facts: int
    duplicates: int


def export_tenant(backend: Backend, tenant: int | None, name: str, path: Path) -> int:
    """Write the file, which appears when it is complete, as it is at one moment. How many events."""
    if path.exists():
        raise UsageError(f"export '{path}' exists; name a new file")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            lines = _Lines(file)
            lines.write({"kind": "mnemic-export", "format": FORMAT, "tenant": name})
            count = 0 if tenant is None else backend.read(lambda tx: _write_all(tx, tenant, lines), tenant)
            lines.end()
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return count


class _Lines:
    """Lines that are counted and hashed as they are written."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._count, self._sum = file, 0, hashlib.sha256()

    def write(self, value: dict[str, Any]) -> None:
        line = json.dumps(value, ensure_ascii=False) + "\n"
        self._sum.update(line.encode())
        self._count += 1
        self._file.write(line)

    def end(self) -> None:
        self._file.write(json.dumps({"kind": "end", "lines": self._count, "sha256": self._sum.hexdigest()}) + "\n")


def _write_all(tx: Transaction, tenant: int, lines: _Lines) -> int:
    count, last = 0, 0
    while rows := tx.rows(_EVENTS, (tenant, last)):
        passages = _passages(tx, [row[0] for row in rows])
        for row in rows:
            names = ("id", "source", "session", "actor", "title", "time", "ingested_at", "text", "metadata", "key")
            event = dict(zip((*names, "forgotten_at", "version"), row[1:], strict=True))
            event["metadata"] = json.loads(event["metadata"])
            lines.write({"kind": "event", **event, "passages": passages[row[0]]})
        count, last = count + len(rows), rows[-1][0]
    sources: dict[int, list[list[Any]]] = {}
    for fact, event_id, level, ordinal in tx.rows(
        "SELECT x.fact, e.id, p.level, p.ordinal FROM fact_source x JOIN passage p ON p.seq = x.passage "
        "JOIN event e ON e.seq = p.event WHERE x.tenant = ? ORDER BY e.seq, p.ordinal",
        (tenant,),
    ):
        sources.setdefault(fact, []).append([event_id, level, ordinal])
    for row in tx.rows(_FACTS, (tenant,)):
        fact, name, digest, subject, s_norm, s_type, predicate, object_, o_norm, o_type, text, *rest = row
        times = dict(
            zip(
                ("valid_from", "valid_to", "recorded_at", "retracted_at", "superseded_by", "confidence", "extractor"),
                rest,
                strict=True,
            )
        )
        target = None if object_ is None else [object_, o_norm, o_type]
        lines.write(
            {
                "kind": "fact", "id": name, "digest": digest, "subject": [subject, s_norm, s_type],
                "predicate": predicate, "object": target, "object_text": text, **times,
                "sources": sources.get(fact, []),
            }
        )  # fmt: skip
    last = 0
    while rows := tx.rows(_AUDIT, (tenant, last)):
        for row in rows:
            lines.write({"kind": "audit", **dict(zip(AUDIT_FIELDS, row[1:], strict=True))})
        last = rows[-1][0]
    return count


def _passages(tx: Transaction, events: list[int]) -> dict[int, list[dict[str, Any]]]:
    """Of each event its passages, with the entities that they name and which stand together."""
    found: dict[int, list[dict[str, Any]]] = {event: [] for event in events}
    by_number: dict[int, dict[str, Any]] = {}
    for seq, event, level, text in tx.rows(
        f"SELECT seq, event, level, text FROM passage WHERE event IN ({marks(events)}) ORDER BY event, ordinal", events
    ):
        by_number[seq] = {"level": level, "text": text, "mentions": [], "pairs": []}
        found[event].append(by_number[seq])
    place: dict[tuple[int, int], int] = {}
    for batch in batches(by_number):
        inside = marks(batch)
        for passage, entity, name, norm, kind, count in tx.rows(
            "SELECT m.passage, m.entity, n.name, n.norm_name, n.type, m.count FROM mention m "
            f"JOIN entity n ON n.seq = m.entity WHERE m.passage IN ({inside}) ORDER BY m.passage, m.entity",
            batch,
        ):
            place[passage, entity] = len(by_number[passage]["mentions"])
            by_number[passage]["mentions"].append([name, norm, kind, count])
        for passage, first, second, count in tx.rows(
            f"SELECT passage, first, second, count FROM cooccurrence WHERE passage IN ({inside}) ORDER BY 1, 2, 3",
            batch,
        ):
            by_number[passage]["pairs"].append([place[passage, first], place[passage, second], count])
    return found


def read_export(path: Path) -> Iterator[dict[str, Any]]:
    """The events, facts and history of a file, after all of it was found whole.

    Raises:
        UsageError: it is no export, or one of a later version.
        MnemicError: it is damaged or cut off.
    """
    _verify(path)
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            value = json.loads(line)
            if value["kind"] in ("event", "fact", "audit"):
                yield value


def _verify(path: Path) -> None:
    total, count, last = hashlib.sha256(), 0, b""
    with path.open("rb") as file:
        for line in file:
            if last:
                total.update(last)
                count += 1
            last = line
            if count == 0:
                _check_first(path, line)
    try:
        end = json.loads(last)
    except ValueError:
        end = {}
    if end != {"kind": "end", "lines": count, "sha256": total.hexdigest()}:
        raise MnemicError(f"export '{path}' is cut off or was changed after {count} lines; nothing of it was imported")


def _check_first(path: Path, line: bytes) -> None:
    try:
        first = json.loads(line)
    except ValueError:
        first = None
    if not isinstance(first, dict) or first.get("kind") != "mnemic-export":
        raise UsageError(f"'{path}' is no export of a mnemic store; `mnemic export` writes one")
    if first.get("format") != FORMAT:
        raise UsageError(f"export '{path}' is of format {first.get('format')}; this mnemic reads {FORMAT}: upgrade it")
