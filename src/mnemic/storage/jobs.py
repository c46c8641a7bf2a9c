"""Work for a language model, kept in the store until it is done: leased, retried, counted."""

from collections.abc import Callable
from dataclasses import dataclass

from mnemic.errors import MnemicError
from mnemic.storage.backend import Backend, Transaction
from mnemic.storage.records import Job
from mnemic.storage.tenants import begin_write
from mnemic.storage.times import new_id, now

__all__ = ["MOST_ATTEMPTS", "Outcome", "Task", "find_jobs", "queue_job", "run_job"]

MOST_ATTEMPTS = 5
LEASE = 600 * 1_000_000
_FIRST_PAUSE = 2 * 1_000_000


@dataclass(frozen=True)
class Task:
    """One job that this process may do now. `title`, `passages` (number and text) are of its event."""

    seq: int
    id: str
    kind: str
    attempts: int
    title: str
    passages: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Outcome:
    """What a job came to: `write` puts its results into the store, in the transaction that ends the job."""

    write: Callable[[Transaction], None]
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None


def queue_job(tx: Transaction, tenant: int, kind: str, event: int) -> str:
    name, at = new_id(), now()
    tx.run(
        "INSERT INTO job (tenant, id, kind, event, state, run_after, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, 'queued', ?, ?, ?)",
        (tenant, name, kind, event, at, at, at),
    )
    return name


def find_jobs(tx: Transaction, tenant: int, state: str | None = None) -> list[Job]:
    chosen, values = ("", [tenant]) if state is None else (" AND j.state = ?", [tenant, state])
    rows = tx.rows(
        "SELECT j.id, j.kind, e.id, j.state, j.attempts, j.lease_until, j.tokens_in, j.tokens_out, j.cost, j.error, "
        f"j.created_at, j.updated_at FROM job j LEFT JOIN event e ON e.seq = j.event WHERE j.tenant = ?{chosen} "
        "ORDER BY j.seq",
        values,
    )
    return [Job(*row) for row in rows]


def run_job(backend: Backend, tenant: int, owner: str, do: Callable[[Task], Outcome]) -> Job | None:
    """Take one job that is due and do it. None: there is none.

    What `do` raises as MnemicError is kept with the job, which is tried again later, 5 times at most. Who is killed
    while at it loses the lease, and another does the job.
    """
    task = backend.write(lambda tx: _claim(tx, tenant, owner), tenant)
    if task is None:
        return None
    try:
        outcome = do(task)
    except MnemicError as failed:
        reason = str(failed)
        backend.write(lambda tx: _fail(tx, task, owner, reason), tenant)
    except BaseException:
        backend.write(lambda tx: _hand_back(tx, task, owner), tenant)
        raise
    else:
        backend.write(lambda tx: _finish(tx, tenant, task, owner, outcome), tenant)
    return next(job for job in backend.read(lambda tx: find_jobs(tx, tenant), tenant) if job.id == task.id)


def _claim(tx: Transaction, tenant: int, owner: str) -> Task | None:
    at = now()
    claimed = tx.claim_jobs(tenant, at, at + LEASE, owner, 1)
    if not claimed:
        return None
    [(name, kind, attempts, event, title)] = tx.rows(
        "SELECT j.id, j.kind, j.attempts, j.event, e.title FROM job j JOIN event e ON e.seq = j.event WHERE j.seq = ?",
        claimed,
    )
    passages = tx.rows("SELECT seq, text FROM passage WHERE event = ? ORDER BY ordinal", (event,))
    return Task(claimed[0], name, kind, attempts, title, tuple((seq, text) for seq, text in passages))


def _still_mine(tx: Transaction, task: Task, owner: str) -> bool:
    return bool(tx.rows("SELECT 1 FROM job WHERE seq = ? AND state = 'running' AND owner = ?", (task.seq, owner)))


def _finish(tx: Transaction, tenant: int, task: Task, owner: str, outcome: Outcome) -> None:
    if not _still_mine(tx, task, owner):  # its event was erased, or the lease ran out and another has it
        return
    begin_write(tx, tenant, rewrites=True)
    outcome.write(tx)
    tx.run(
        "UPDATE job SET state = 'done', lease_until = NULL, owner = NULL, error = '', tokens_in = tokens_in + ?, "
        "tokens_out = tokens_out + ?, cost = ?, updated_at = ? WHERE seq = ?",
        (outcome.tokens_in, outcome.tokens_out, outcome.cost, now(), task.seq),
    )


def _fail(tx: Transaction, task: Task, owner: str, reason: str) -> None:
    if not _still_mine(tx, task, owner):
        return
    at = now()
    tx.run(
        "UPDATE job SET state = ?, lease_until = NULL, owner = NULL, run_after = ?, error = ?, updated_at = ? "
        "WHERE seq = ?",
        (
            "dead" if task.attempts >= MOST_ATTEMPTS else "failed",
            at + _FIRST_PAUSE * 4 ** (task.attempts - 1),
            reason[:2000],
            at,
            task.seq,
        ),
    )


def _hand_back(tx: Transaction, task: Task, owner: str) -> None:
    """Interrupted: another may have it at once."""
    if _still_mine(tx, task, owner):
        tx.run(
            "UPDATE job SET state = 'queued', attempts = attempts - 1, lease_until = NULL, owner = NULL, "
            "updated_at = ? WHERE seq = ?",
            (now(), task.seq),
        )
