"""Events, passages and what was found in them, written in one transaction."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mnemic.storage.audit import note
from mnemic.storage.backend import Transaction, Vectors, batches, marks
from mnemic.storage.extracted import Extracted
from mnemic.storage.phrases import cleaned
from mnemic.storage.preparing import Prepared
from mnemic.storage.records import ItemReport, NewFact
from mnemic.storage.times import new_id, now
from mnemic.storage.view import Entity

__all__ = ["entity_numbers", "existing", "key_of", "write_event", "write_extracted", "write_fact", "write_vectors"]


Key = tuple[str, str]  # cleaned name and type: what makes two names one entity


def key_of(entity: Entity) -> Key:
    return entity.norm_name, entity.type


def existing(tx: Transaction, tenant: int, item: Prepared, key: str | None) -> tuple[int, str, int | None] | None:
    """The event that is already there, by its key or by source, content and time: (seq, id, forgotten_at)."""
    found = tx.rows(
        "SELECT seq, id, forgotten_at FROM event WHERE tenant = ? AND source = ? AND content_hash = ? "
        "AND COALESCE(occurred_at, -9223372036854775807) = ?",
        (tenant, item.event.source, item.content_hash, -(2**63) + 1 if item.time is None else item.time),
    )
    if not found and key is not None:
        found = tx.rows(
            "SELECT seq, id, forgotten_at FROM event WHERE tenant = ? AND idempotency_key = ?", (tenant, key)
        )
    if not found:
        return None
    seq, name, forgotten_at = found[0]
    return seq, name, forgotten_at


def write_event(
    tx: Transaction,
    tenant: int,
    encoder: int,
    item: Prepared,
    vectors: Vectors,
    extracted: Sequence[Extracted],
    *,
    key: str | None,
    actor: str,
    event_id: str | None = None,
) -> tuple[ItemReport, int]:
    """Write one event that is not there yet.

    Args:
        vectors: `[passages, D]`.
        extracted: what was found in each passage, or nothing.

    Returns:
        Its report, and its number.
    """
    event, at = item.event, now()
    name = event_id or new_id()
    columns = (
        "tenant, id, source, session, actor, title, occurred_at, ingested_at, content, content_hash, metadata, "
        "idempotency_key"
    )
    [(seq,)] = tx.rows(
        f"INSERT INTO event ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq",
        (
            tenant, name, event.source, event.session, event.actor, event.title, item.time, at, event.text,
            item.content_hash, item.metadata, key,
        ),
    )  # fmt: skip
    passages = [
        tx.rows(
            "INSERT INTO passage (tenant, event, ordinal, level, text, words) VALUES (?, ?, ?, ?, ?, ?) RETURNING seq",
            (tenant, seq, ordinal, passage.level, passage.text, len(passage.terms)),
        )[0][0]
        for ordinal, passage in enumerate(item.passages)
    ]
    tx.index_words(tenant, [(number, passage.terms) for number, passage in zip(passages, item.passages, strict=True)])
    write_vectors(tx, tenant, encoder, "passage", passages, vectors)
    for number, found in zip(passages, extracted, strict=False):
        write_extracted(tx, tenant, number, found)
    note(tx, tenant, actor, "add", name, after=item.content_hash)
    return ItemReport("stored", name), seq


def write_vectors(
    tx: Transaction, tenant: int, encoder: int, kind: str, owners: Sequence[int], vectors: Vectors
) -> None:
    """Keep the vector of each owner; one that is there stays."""
    rows = zip(owners, np.ascontiguousarray(vectors, "<f4"), strict=True)
    tx.many(
        "INSERT INTO vector (tenant, kind, owner, encoder, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(tenant, kind, owner, encoder, vector.tobytes()) for owner, vector in rows],
    )
    if kind == "passage":
        tx.index_vectors(tenant, encoder, owners, vectors)


def write_extracted(tx: Transaction, tenant: int, passage: int, found: Extracted) -> None:
    """Everything that was found in one passage; found again, it stays as it is."""
    ends = [_ends(fact) for fact in found.facts]
    numbers = entity_numbers(tx, tenant, [*found.mentions, *(entity for pair in ends for entity in pair)])
    tx.many(
        "INSERT INTO mention (tenant, passage, entity, count) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(tenant, passage, numbers[key_of(entity)], count) for entity, count in found.mentions.items()],
    )
    pairs = [(*sorted((numbers[key_of(a)], numbers[key_of(b)])), count) for (a, b), count in found.pairs.items()]
    tx.many(
        "INSERT INTO cooccurrence (tenant, passage, first, second, count) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        [(tenant, passage, *pair) for pair in pairs if pair[0] != pair[1]],
    )
    for fact in found.facts:
        _write_fact(tx, tenant, fact, found.extractor, numbers, [passage])


def entity_numbers(tx: Transaction, tenant: int, entities: Iterable[Entity]) -> dict[Key, int]:
    """The numbers of entities by their keys, which are made where they are not there. The first spelling stays."""
    wanted: dict[Key, Entity] = {}
    for entity in entities:
        wanted.setdefault(key_of(entity), entity)
    known = _known_entities(tx, tenant, wanted)
    new = [(tenant, *key, entity.name) for key, entity in wanted.items() if key not in known]
    if new:
        tx.many("INSERT INTO entity (tenant, norm_name, type, name) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", new)
        known = _known_entities(tx, tenant, wanted)
    return known


def _known_entities(tx: Transaction, tenant: int, wanted: Iterable[Key]) -> dict[Key, int]:
    found: dict[Key, int] = {}
    for batch in batches({norm for norm, _ in wanted}):
        rows = tx.rows(
            f"SELECT norm_name, type, seq FROM entity WHERE tenant = ? AND norm_name IN ({marks(batch)})",
            (tenant, *batch),
        )
        found |= {(norm, kind): number for norm, kind, number in rows}
    return found


def write_fact(tx: Transaction, tenant: int, fact: NewFact, extractor: str) -> tuple[int, str]:
    """The fact's number and id. One that the store already claims, with the same times and from the same extractor,
    stays as it is."""
    return _write_fact(tx, tenant, fact, extractor, entity_numbers(tx, tenant, _ends(fact)), [])


def _write_fact(
    tx: Transaction,
    tenant: int,
    fact: NewFact,
    extractor: str,
    numbers: Mapping[Key, int],
    passages: Sequence[int],
) -> tuple[int, str]:
    """As `write_fact`, with the numbers of its ends; it gains the passages as sources."""
    ends = _ends(fact)
    subject, target = numbers[key_of(ends[0])], None if fact.literal else numbers[key_of(ends[1])]
    digest = _fact_digest(fact, extractor)
    found = tx.rows(
        "SELECT seq, id FROM fact WHERE tenant = ? AND digest = ? AND retracted_at IS NULL AND superseded_by IS NULL",
        (tenant, digest),
    )
    if not found:
        found = tx.rows(
            "INSERT INTO fact (tenant, id, digest, subject, predicate, object, object_text, valid_from, valid_to, "
            "recorded_at, confidence, extractor) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq, id",
            (
                tenant, new_id(), digest, subject, fact.predicate.strip(), target, fact.object.strip(),
                fact.valid_from, fact.valid_to, now(), fact.confidence, extractor,
            ),
        )  # fmt: skip
    number, name = found[0]
    tx.many(
        "INSERT INTO fact_source (tenant, fact, passage) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(tenant, number, passage) for passage in passages],
    )
    return number, name


def _ends(fact: NewFact) -> list[Entity]:
    """The entities that a fact is about."""
    names = [fact.subject] if fact.literal else [fact.subject, fact.object]
    return [Entity(name.strip(), cleaned(name) or name) for name in names]


def _fact_digest(fact: NewFact, extractor: str) -> str:
    """What makes two statements the same fact."""
    parts: list[Any] = [
        cleaned(fact.subject) or fact.subject,
        cleaned(fact.predicate) or fact.predicate,
        fact.object.strip() if fact.literal else cleaned(fact.object) or fact.object,
        fact.literal,
        fact.valid_from,
        fact.valid_to,
        extractor,
    ]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
