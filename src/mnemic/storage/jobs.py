"""Work for a language model, kept in the store until it is done: leased, tried again, counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mnemic.storage.backend import Transaction
from mnemic.storage.records import Job
from mnemic.storage.tenants import begin_write
from mnemic.storage.times import new_id, now

__all__ = [
    "Spent",
    "Task",
    "Write",
    "claim_job",
    "fail_job",
    "find_jobs",
    "finish_job",
    "hand_back_job",
    "queue_job",
    "retry_jobs",
]

MOST_ATTEMPTS = 5
LEASE = 600 * 1_000_000  # microseconds
_FIRST_PAUSE = 2 * 1_000_000

Write = Callable[[Transaction], None]


@dataclass(frozen=True)
class Task:
    """One job that this process may do now. `title`, `session` and `passages` (number, text) are of its event."""

    seq: int
    id: str
    kind: str
    attempts: int
    title: str
    session: str
    passages: tuple[tuple[int, str], ...]


def queue_job(tx: Transaction, tenant: int, kind: str, event: int) -> str:
    name, at = new_id(), now()
    tx.run(
        "INSERT INTO job (tenant, id, kind, event, state, run_after, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, 'queued', ?, ?, ?)",
        (tenant, name, kind, event, at, at, at),
    )
    return name


def find_jobs(
    tx: Transaction, tenant: int, state: str | None = None, name: str | None = None, limit: int | None = None
) -> list[Job]:
    """In the order in which they were queued; of more than `limit` the latest."""
    wheres: list[str] = ["j.tenant = ?"]
    values: list[int | str] = [tenant]
    for column, value in (("j.state", state), ("j.id", name)):
        if value is not None:
            wheres.append(f"{column} = ?")
            values.append(value)
    rows = tx.rows(
        "SELECT j.id, j.kind, e.id, j.state, j.attempts, j.lease_until, j.tokens_in, j.tokens_out, j.cost, j.error, "
        "j.created_at, j.updated_at FROM job j LEFT JOIN event e ON e.seq = j.event "
        f"WHERE {' AND '.join(wheres)} ORDER BY j.seq DESC" + ("" if limit is None else " LIMIT ?"),
        [*values, *([] if limit is None else [limit])],
    )
    return [Job(*row) for row in reversed(rows)]


def retry_jobs(tx: Transaction, tenant: int) -> int:
    """Jobs that wait for another try, or were given up, are due now, as if never tried. How many."""
    at = now()
    return tx.run(
        "UPDATE job SET state = 'queued', attempts = 0, run_after = ?, updated_at = ? "
        "WHERE tenant = ? AND state IN ('failed', 'dead')",
        (at, at, tenant),
    )


@dataclass(frozen=True)
class Spent:
    """Of a language model, on one try."""

    tokens_in: int
    tokens_out: int
    cost: float | None


def claim_job(tx: Transaction, tenant: int, owner: str, kinds: Sequence[str]) -> Task | None:
    """A job of one of these kinds that is due, or whose lease ran out, leased to `owner` for 10 minutes."""
    at = now()
    claimed = tx.claim_jobs(tenant, at, at + LEASE, owner, kinds, 1)
    if not claimed:
        return None
    [(name, kind, attempts, event, title, session)] = tx.rows(
        "SELECT j.id, j.kind, j.attempts, j.event, e.title, e.session "
        "FROM job j JOIN event e ON e.seq = j.event WHERE j.seq = ?",
        claimed,
    )
    passages = tx.rows("SELECT seq, text FROM passage WHERE event = ? ORDER BY ordinal", (event,))
    return Task(claimed[0], name, kind, attempts, title, session, tuple((seq, text) for seq, text in passages))


def _end(tx: Transaction, task: Task, owner: str, spent: Spent, state: str, *, run_after: int, error: str) -> bool:
    """False: the job is not this owner's any more; its event was erased, or the lease ran out and another has it."""
    changed = tx.run(
        "UPDATE job SET state = ?, run_after = ?, error = ?, lease_until = NULL, owner = NULL, "
        "tokens_in = tokens_in + ?, tokens_out = tokens_out + ?, "
        "cost = CASE WHEN CAST(? AS REAL) IS NULL THEN cost ELSE COALESCE(cost, 0) + CAST(? AS REAL) END, "
        "updated_at = ? WHERE seq = ? AND state = 'running' AND owner = ?",
        (
            state, run_after, error[:2000], spent.tokens_in, spent.tokens_out, spent.cost, spent.cost, now(),
            task.seq, owner,
        ),
    )  # fmt: skip
    return changed > 0


def finish_job(tx: Transaction, tenant: int, task: Task, owner: str, spent: Spent, write: Write) -> None:
    """Write the results, unless the job is another's by now."""
    begin_write(tx, tenant, rewrites=True)
    if _end(tx, task, owner, spent, "done", run_after=now(), error=""):
        write(tx)


def fail_job(tx: Transaction, task: Task, owner: str, spent: Spent, reason: str) -> None:
    """It is tried again later, ever later, and after 5 tries no more."""
    state = "dead" if task.attempts >= MOST_ATTEMPTS else "failed"
    pause = _FIRST_PAUSE * 4 ** (task.attempts - 1)
    _end(tx, task, owner, spent, state, run_after=now() + pause, error=reason)


def hand_back_job(tx: Transaction, task: Task, owner: str, spent: Spent, reason: str) -> None:
    """Another may have it at once; this try does not count."""
    if _end(tx, task, owner, spent, "queued", run_after=now(), error=reason):
        tx.run("UPDATE job SET attempts = attempts - 1 WHERE seq = ?", (task.seq,))
