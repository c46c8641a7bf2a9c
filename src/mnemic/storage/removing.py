"""Taking events out: out of what is recalled, or out of the store with everything that only they support."""

from collections.abc import Sequence

from mnemic.storage.audit import forget_hashes, note
from mnemic.storage.backend import Transaction, batches, marks
from mnemic.storage.preparing import index_terms, indexed_text
from mnemic.storage.records import Erased
from mnemic.storage.times import now

__all__ = ["erase_events", "erase_stated_facts", "forget_events", "recall_again"]


def forget_events(tx: Transaction, tenant: int, events: Sequence[int], actor: str) -> int:
    """Recall them no more; they stay in the history. How many were recalled until now."""
    count = 0
    for batch in batches(events):
        rows = tx.rows(
            f"UPDATE event SET forgotten_at = ? WHERE tenant = ? AND forgotten_at IS NULL AND seq IN ({marks(batch)}) "
            "RETURNING id, content_hash",
            (now(), tenant, *batch),
        )
        for event, content_hash in rows:
            note(tx, tenant, actor, "forget", event, before=content_hash, after=content_hash)
        count += len(rows)
    return count


def recall_again(tx: Transaction, tenant: int, event: int, name: str, actor: str) -> None:
    """Take back `forget_events`: it was said again."""
    tx.run("UPDATE event SET forgotten_at = NULL WHERE tenant = ? AND seq = ?", (tenant, event))
    note(tx, tenant, actor, "restore", name)


def erase_events(tx: Transaction, tenant: int, events: Sequence[int], actor: str) -> Erased:
    """Delete them with passages, keywords, vectors, jobs, and the facts and entities that nothing else supports."""
    total = [0, 0, 0, 0, 0]
    for batch in batches(events, 500):
        for index, count in enumerate(_erase(tx, tenant, batch, actor)):
            total[index] += count
    return Erased(*total)


def _erase(tx: Transaction, tenant: int, events: list[int], actor: str) -> tuple[int, int, int, int, int]:
    inside = f"event IN ({marks(events)})"
    passages = tx.rows(
        "SELECT p.seq, e.title, p.text FROM passage p JOIN event e ON e.seq = p.event "
        f"WHERE p.tenant = ? AND p.{inside}",
        (tenant, *events),
    )
    tx.unindex_words(tenant, [(seq, index_terms(indexed_text(title, text))) for seq, title, text in passages])
    numbers = [seq for seq, _, _ in passages]
    facts = _among(tx, "SELECT DISTINCT fact FROM fact_source WHERE passage IN ({})", numbers)
    entities = _among(tx, "SELECT DISTINCT entity FROM mention WHERE passage IN ({})", numbers)
    _delete_vectors(tx, tenant, "passage", numbers)
    [(jobs,)] = tx.rows(f"SELECT count(*) FROM job WHERE tenant = ? AND {inside}", (tenant, *events))
    names = tx.rows(f"DELETE FROM event WHERE tenant = ? AND seq IN ({marks(events)}) RETURNING id", (tenant, *events))
    for (name,) in names:
        forget_hashes(tx, tenant, name)
        note(tx, tenant, actor, "erase", name)
    gone, unsupported = _erase_unsupported_facts(tx, tenant, facts)
    return (
        len(names),
        len(passages),
        _erase_unnamed_entities(tx, tenant, sorted({*entities, *unsupported})),
        gone,
        jobs,
    )


def erase_stated_facts(tx: Transaction, tenant: int, norms: Sequence[str] | None) -> tuple[int, int]:
    """Delete facts that no event states: those about one of the names, or all. How many facts and entities went."""
    chosen = ""
    values: list[int | str] = [tenant]
    if norms is not None:
        inside = f"(SELECT seq FROM entity WHERE tenant = ? AND norm_name IN ({marks(norms)}))"
        chosen = f" AND (subject IN {inside} OR object IN {inside})"
        values += [tenant, *norms, tenant, *norms]
    facts = tx.rows(f"SELECT seq FROM fact WHERE tenant = ?{chosen}", values)
    gone, about = _erase_unsupported_facts(tx, tenant, [row[0] for row in facts])
    return gone, _erase_unnamed_entities(tx, tenant, sorted(set(about)))


def _among(tx: Transaction, sql: str, values: Sequence[int]) -> list[int]:
    return [row[0] for batch in batches(values) for row in tx.rows(sql.format(marks(batch)), batch)]


def _delete_vectors(tx: Transaction, tenant: int, kind: str, owners: Sequence[int]) -> None:
    for batch in batches(owners):
        tx.run(
            f"DELETE FROM vector WHERE tenant = ? AND kind = ? AND owner IN ({marks(batch)})", (tenant, kind, *batch)
        )


def _erase_unsupported_facts(tx: Transaction, tenant: int, facts: Sequence[int]) -> tuple[int, list[int]]:
    """How many went, and the entities that they were about."""
    count, about = 0, []
    for batch in batches(facts):
        gone = tx.rows(
            f"DELETE FROM fact WHERE tenant = ? AND seq IN ({marks(batch)}) "
            "AND NOT EXISTS (SELECT 1 FROM fact_source s WHERE s.fact = fact.seq) RETURNING seq, id, subject, object",
            (tenant, *batch),
        )
        _delete_vectors(tx, tenant, "fact", [row[0] for row in gone])
        for _, name, *_ in gone:
            forget_hashes(tx, tenant, name)
        about += [entity for row in gone for entity in row[2:] if entity is not None]
        count += len(gone)
    return count, about


def _erase_unnamed_entities(tx: Transaction, tenant: int, entities: Sequence[int]) -> int:
    count = 0
    for batch in batches(entities):
        gone = tx.rows(
            f"DELETE FROM entity WHERE tenant = ? AND seq IN ({marks(batch)}) "
            "AND NOT EXISTS (SELECT 1 FROM mention m WHERE m.entity = entity.seq) "
            "AND NOT EXISTS (SELECT 1 FROM fact f WHERE f.subject = entity.seq) "
            "AND NOT EXISTS (SELECT 1 FROM fact f WHERE f.object = entity.seq) RETURNING seq",
            (tenant, *batch),
        )
        _delete_vectors(tx, tenant, "entity", [row[0] for row in gone])
        count += len(gone)
    return count
