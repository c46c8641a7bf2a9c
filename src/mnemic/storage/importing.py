"""An export brought into a store: the same ids and times, vectors of the store's own encoder."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mnemic.storage.backend import Backend, Transaction, Vectors
from mnemic.storage.encoder import Encoder
from mnemic.storage.extracted import Extracted
from mnemic.storage.preparing import Prepared, PreparedPassage, index_terms, indexed_text, prepared
from mnemic.storage.records import Event
from mnemic.storage.tenants import begin_write, record_encoder
from mnemic.storage.transfer import AUDIT_FIELDS, Imported, read_export
from mnemic.storage.view import Entity
from mnemic.storage.writing import entity_numbers, existing, key_of, write_event

__all__ = ["import_file"]

_BATCH = 200


def import_file(backend: Backend, tenant: int, encoder: Encoder, path: Path, actor: str) -> Imported:
    """What is there already, by its id or its content, stays as it is. Run again after a crash, it goes on."""
    events = facts = duplicates = 0
    lines = read_export(path)
    while batch := list(islice(lines, _BATCH)):
        said = [line for line in batch if line["kind"] == "event"]
        items = [_item(line) for line in said]
        texts = [passage.indexed for item in items for passage in item.passages]
        vectors = np.asarray(encoder.encode(texts), np.float32)
        stated = [line for line in batch if line["kind"] == "fact"]
        noted = [line for line in batch if line["kind"] == "audit"]

        def work(
            tx: Transaction,
            said: Sequence[dict[str, Any]] = said,
            items: Sequence[Prepared] = items,
            vectors: Vectors = vectors,
            stated: Sequence[dict[str, Any]] = stated,
            noted: Sequence[dict[str, Any]] = noted,
        ) -> tuple[int, int]:
            begin_write(tx, tenant, rewrites=True)
            number = record_encoder(tx, tenant, encoder)
            new, begin = 0, 0
            for line, item in zip(said, items, strict=True):
                end = begin + len(item.passages)
                new += _write_event(tx, tenant, number, line, item, vectors[begin:end], actor)
                begin = end
            for line in noted:
                _write_audit(tx, tenant, line)
            return new, sum(_write_fact(tx, tenant, line) for line in stated)

        new_events, new_facts = backend.write(work, tenant)
        events, facts = events + new_events, facts + new_facts
        duplicates += len(said) + len(stated) - new_events - new_facts
    return Imported(events, facts, duplicates)


def _item(line: dict[str, Any]) -> Prepared:
    names = ("text", "source", "session", "actor", "title", "time", "metadata")
    level = line["passages"][0]["level"] if line["passages"] else ""
    item = prepared(Event(**{name: line[name] for name in names}, level=level))
    texts = [(p["level"], p["text"], indexed_text(line["title"], p["text"])) for p in line["passages"]]
    passages = tuple(PreparedPassage(level, text, indexed, index_terms(indexed)) for level, text, indexed in texts)
    return Prepared(item.event, item.time, item.content_hash, item.metadata, passages, ())


def _extracted(passage: dict[str, Any]) -> Extracted:
    entities = [Entity(name, norm, kind) for name, norm, kind, _ in passage["mentions"]]
    counts = [mention[3] for mention in passage["mentions"]]
    pairs = {(entities[first], entities[second]): count for first, second, count in passage["pairs"]}
    return Extracted("import", dict(zip(entities, counts, strict=True)), pairs)


def _write_event(
    tx: Transaction, tenant: int, encoder: int, line: dict[str, Any], item: Prepared, vectors: Vectors, actor: str
) -> int:
    """1 where it is new."""
    if existing(tx, tenant, item, line["key"]) or tx.rows(
        "SELECT 1 FROM event WHERE tenant = ? AND id = ?", (tenant, line["id"])
    ):
        return 0
    found = [_extracted(passage) for passage in line["passages"]]
    _, seq = write_event(tx, tenant, encoder, item, vectors, found, key=line["key"], actor=actor, event_id=line["id"])
    tx.run(
        "UPDATE event SET ingested_at = ?, forgotten_at = ?, version = ? WHERE seq = ?",
        (line["ingested_at"], line["forgotten_at"], line["version"], seq),
    )
    return 1


def _write_fact(tx: Transaction, tenant: int, line: dict[str, Any]) -> int:
    """1 where it is new. One that the store claims already, under another id, stays that one."""
    live = line["retracted_at"] is None and line["superseded_by"] is None
    if tx.rows("SELECT 1 FROM fact WHERE tenant = ? AND id = ?", (tenant, line["id"])) or (
        live
        and tx.rows(
            "SELECT 1 FROM fact WHERE tenant = ? AND digest = ? AND retracted_at IS NULL AND superseded_by IS NULL",
            (tenant, line["digest"]),
        )
    ):
        return 0
    ends = [Entity(*line[name]) for name in ("subject", "object") if line[name] is not None]
    numbers = entity_numbers(tx, tenant, ends)
    target = None if line["object"] is None else numbers[key_of(ends[1])]
    [(fact,)] = tx.rows(
        "INSERT INTO fact (tenant, id, digest, subject, predicate, object, object_text, valid_from, valid_to, "
        "recorded_at, retracted_at, superseded_by, confidence, extractor) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq",
        (
            tenant, line["id"], line["digest"], numbers[key_of(ends[0])],
            line["predicate"], target, line["object_text"], line["valid_from"], line["valid_to"], line["recorded_at"],
            line["retracted_at"], line["superseded_by"], line["confidence"], line["extractor"],
        ),
    )  # fmt: skip
    for event, level, ordinal in line["sources"]:
        tx.run(
            "INSERT INTO fact_source (tenant, fact, passage) SELECT ?, ?, p.seq FROM passage p "
            "JOIN event e ON e.seq = p.event WHERE e.tenant = ? AND e.id = ? AND p.level = ? AND p.ordinal = ?",
            (tenant, fact, tenant, event, level, ordinal),
        )
    return 1


def _write_audit(tx: Transaction, tenant: int, line: dict[str, Any]) -> None:
    """What the other store has done stands in this one's history, once."""
    values = [line[name] for name in AUDIT_FIELDS]
    there = tx.rows(
        "SELECT 1 FROM audit WHERE tenant = ? AND subject = ? AND at = ? AND actor = ? AND action = ?",
        (tenant, line["subject"], line["at"], line["actor"], line["action"]),
    )
    if not there:
        tx.run(
            "INSERT INTO audit (tenant, at, actor, action, subject, before_hash, after_hash) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (tenant, *values),
        )
