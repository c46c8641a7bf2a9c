"""Facts in both of their times: when they hold, and when the store knew them."""

from dataclasses import replace

from mnemic.errors import UsageError
from mnemic.storage.audit import note
from mnemic.storage.backend import Row, Transaction, batches, marks
from mnemic.storage.conflicts import Conflict, NotFound
from mnemic.storage.phrases import cleaned
from mnemic.storage.records import FactRecord, NewFact
from mnemic.storage.times import now
from mnemic.storage.writing import write_fact

__all__ = ["find_facts", "retract_fact", "supersede_fact"]

_COLUMNS = (
    "f.seq, f.id, s.name, f.predicate, f.object_text, f.valid_from, f.valid_to, f.recorded_at, f.retracted_at, "
    "f.superseded_by, f.confidence, f.extractor"
)
# a fact whose every source was forgotten is known no more; one without sources was stated by the user
_RECALLED = (
    "(NOT EXISTS (SELECT 1 FROM fact_source x WHERE x.fact = f.seq) OR EXISTS (SELECT 1 FROM fact_source x "
    "JOIN passage p ON p.seq = x.passage JOIN event e ON e.seq = p.event "
    "WHERE x.fact = f.seq AND (e.forgotten_at IS NULL OR e.forgotten_at > ?)))"
)


def find_facts(
    tx: Transaction,
    tenant: int,
    *,
    subject: str | None = None,
    predicate: str | None = None,
    at: int | None = None,
    known_at: int | None = None,
    ever: bool = False,
) -> list[FactRecord]:
    """The facts that hold at `at` as the store knew at `known_at`; without a time: all that it claims now.

    Args:
        ever: also those that it claimed once and claims no more.
    """
    known = now() if known_at is None else known_at
    wheres: list[str] = ["f.tenant = ?", "f.recorded_at <= ?", _RECALLED]
    values: list[object] = [tenant, known, known]
    if not ever:
        wheres.append("(f.retracted_at IS NULL OR f.retracted_at > ?)")
        values.append(known)
    if at is not None:
        wheres += ["(f.valid_from IS NULL OR f.valid_from <= ?)", "(f.valid_to IS NULL OR f.valid_to > ?)"]
        values += [at, at]
    if subject is not None:
        wheres.append("s.norm_name = ?")
        values.append(cleaned(subject) or subject)
    if predicate is not None:
        wheres.append("f.predicate = ?")
        values.append(predicate)
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM fact f JOIN entity s ON s.seq = f.subject WHERE {' AND '.join(wheres)} ORDER BY f.seq",
        values,
    )
    events = _events_of(tx, [row[0] for row in rows])
    return [
        FactRecord(
            name, about, predicate_, object_, begins, ends, recorded, retracted, superseded, confidence, extractor,
            tuple(events.get(seq, ())),
        )
        for (
            seq, name, about, predicate_, object_, begins, ends, recorded, retracted, superseded, confidence, extractor
        ) in rows
    ]  # fmt: skip


def _events_of(tx: Transaction, facts: list[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for batch in batches(facts):
        for fact, event in tx.rows(
            "SELECT DISTINCT x.fact, e.id FROM fact_source x JOIN passage p ON p.seq = x.passage "
            f"JOIN event e ON e.seq = p.event WHERE x.fact IN ({marks(batch)}) ORDER BY 1, 2",
            batch,
        ):
            found.setdefault(fact, []).append(event)
    return found


def supersede_fact(
    tx: Transaction, tenant: int, name: str, new: NewFact, expected_version: int | None, actor: str
) -> str:
    """End a fact where the new one begins (now, where the new one does not say) and claim the new one.

    What was known before stays known as of then: the old row keeps its times, under a new one that ends earlier.

    Returns:
        The id of the new fact.
    """
    old = _live(tx, tenant, name, expected_version)
    seq, begins, ends = old[0], old[5], old[6]
    at = now()
    if new.valid_from is None:
        new = replace(new, valid_from=at)
    assert isinstance(new.valid_from, int)
    if begins is not None and new.valid_from <= begins:
        raise UsageError(
            f"valid_from of the new fact is not after that of fact '{name}'; retract that one if it never held"
        )
    number, made = write_fact(tx, tenant, new, "user")
    if number == seq:
        raise UsageError(f"fact '{name}' says that already")
    tx.run(
        "INSERT INTO fact (tenant, id, digest, subject, predicate, object, object_text, valid_from, valid_to, "
        "recorded_at, retracted_at, superseded_by, confidence, extractor) SELECT tenant, ?, digest, subject, "
        "predicate, object, object_text, valid_from, ?, ?, NULL, ?, confidence, extractor FROM fact WHERE seq = ?",
        (f"{name}/{at}", new.valid_from if ends is None else min(ends, new.valid_from), at, made, seq),
    )
    [(closed,)] = tx.rows("SELECT seq FROM fact WHERE tenant = ? AND id = ?", (tenant, f"{name}/{at}"))
    tx.run(
        "INSERT INTO fact_source (tenant, fact, passage) SELECT tenant, ?, passage FROM fact_source WHERE fact = ?",
        (closed, seq),
    )
    tx.run("UPDATE fact SET retracted_at = ?, superseded_by = ? WHERE seq = ?", (at, made, seq))
    note(tx, tenant, actor, "supersede", name)
    note(tx, tenant, actor, "add", made)
    return made


def retract_fact(tx: Transaction, tenant: int, name: str, expected_version: int | None, actor: str) -> None:
    """Claim it no more: it never held. What the store knew before stays known as of then."""
    seq = _live(tx, tenant, name, expected_version)[0]
    tx.run("UPDATE fact SET retracted_at = ? WHERE seq = ?", (now(), seq))
    note(tx, tenant, actor, "retract", name)


def _live(tx: Transaction, tenant: int, name: str, expected_version: int | None) -> Row:
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM fact f JOIN entity s ON s.seq = f.subject WHERE f.tenant = ? AND f.id = ?",
        (tenant, name),
    )
    if not rows:
        raise NotFound(f"fact '{name:.80}' is not in this store; facts() lists them with their ids")
    if rows[0][8] is not None or rows[0][9] is not None:
        raise Conflict(f"fact '{name}' is claimed no more; only a live fact can be changed")
    if expected_version not in (None, 1):
        raise Conflict(f"fact '{name}' is of version 1, not {expected_version}: read it again, then change it")
    return rows[0]
