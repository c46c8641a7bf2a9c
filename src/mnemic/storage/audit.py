"""Who did what, when. Contents are told by their hashes, and after an erasure not even by those."""

from mnemic.storage.backend import Transaction
from mnemic.storage.records import AuditEntry
from mnemic.storage.times import now

__all__ = ["forget_hashes", "history", "note"]


def note(
    tx: Transaction,
    tenant: int,
    actor: str,
    action: str,
    subject: str,
    *,
    before: str | None = None,
    after: str | None = None,
) -> None:
    tx.run(
        "INSERT INTO audit (tenant, at, actor, action, subject, before_hash, after_hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (tenant, now(), actor, action, subject, before, after),
    )


def forget_hashes(tx: Transaction, tenant: int, subject: str) -> None:
    """A hash of a short text gives it away to who guesses it: they go when the text goes."""
    tx.run("UPDATE audit SET before_hash = NULL, after_hash = NULL WHERE tenant = ? AND subject = ?", (tenant, subject))


def history(tx: Transaction, tenant: int, subject: str | None, limit: int) -> list[AuditEntry]:
    """The latest entries, the latest first; of one event or fact, or of all."""
    chosen, values = ("", [tenant]) if subject is None else (" AND subject = ?", [tenant, subject])
    rows = tx.rows(
        "SELECT at, actor, action, subject, before_hash, after_hash FROM audit "
        f"WHERE tenant = ?{chosen} ORDER BY seq DESC LIMIT ?",
        [*values, limit],
    )
    return [AuditEntry(*row) for row in rows]
