"""Doing the jobs of a tenant with a language model, one after another, until none is due."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from mnemic.errors import MnemicError
from mnemic.llm import LLMError, MeteredLLM, Totals
from mnemic.storage.backend import Backend, Transaction
from mnemic.storage.jobs import Spent, Task, Write, claim_job, fail_job, find_jobs, finish_job, hand_back_job
from mnemic.storage.llm_extraction import LLMExtractor
from mnemic.storage.records import Job
from mnemic.storage.times import new_id
from mnemic.storage.writing import write_extracted

__all__ = ["JobsReport", "run_jobs"]


@dataclass(frozen=True)
class JobsReport:
    """Attributes:
    done, failed, dead: tries that ended so; a failed job is tried again later, a dead one is not.
    tokens_in, tokens_out: that they cost.
    stopped: why it ended while jobs were due, "" where none was.
    """

    done: int
    failed: int
    dead: int
    tokens_in: int
    tokens_out: int
    seconds: float
    stopped: str = ""


def run_jobs(
    backend: Backend, tenant: int, client: MeteredLLM, *, max_seconds: float | None = None, max_jobs: int | None = None
) -> JobsReport:
    """See `MemoryStore.run_jobs`."""
    began, before, owner = time.monotonic(), client.totals, new_id()
    ends: Counter[str] = Counter()
    stopped = ""
    while not stopped:
        if max_seconds is not None and time.monotonic() - began >= max_seconds:
            stopped = f"{max_seconds:g} seconds are over"
        elif max_jobs is not None and ends.total() >= max_jobs:
            stopped = f"{max_jobs} jobs were tried"
        else:
            try:
                job = _run_job(backend, tenant, owner, client, lambda task: _do(task, client))
            except LLMError as failed:
                stopped = str(failed)
            else:
                if job is None:
                    break
                ends[job.state] += 1
    after = client.totals
    return JobsReport(
        ends["done"],
        ends["failed"],
        ends["dead"],
        after.prompt_tokens - before.prompt_tokens,
        after.completion_tokens - before.completion_tokens,
        time.monotonic() - began,
        stopped,
    )


def _run_job(backend: Backend, tenant: int, owner: str, client: MeteredLLM, do: Callable[[Task], Write]) -> Job | None:
    """Take one job that is due and do it; its results are written in the transaction that ends it. None: none is due.

    A job that fails is tried again later, 5 times at most. Who is killed while at it loses the lease after 10 minutes,
    and another does the job.

    Raises:
        LLMError: one after which no job would fare better; the job is due as before.
    """
    task = backend.write(lambda tx: claim_job(tx, tenant, owner), tenant)
    if task is None:
        return None
    before = client.totals
    try:
        write = do(task)
    except MnemicError as failed:
        reason, spent = str(failed), _spent(before, client.totals)
        if isinstance(failed, LLMError) and failed.fatal:
            backend.write(lambda tx: hand_back_job(tx, task, owner, spent, reason), tenant)
            raise
        backend.write(lambda tx: fail_job(tx, task, owner, spent, reason), tenant)
    except BaseException:
        spent = _spent(before, client.totals)
        backend.write(lambda tx: hand_back_job(tx, task, owner, spent, ""), tenant)
        raise
    else:
        spent = _spent(before, client.totals)
        backend.write(lambda tx: finish_job(tx, tenant, task, owner, spent, write), tenant)
    found = backend.read(lambda tx: find_jobs(tx, tenant, name=task.id), tenant)
    return found[0] if found else _run_job(backend, tenant, owner, client, do)  # erased meanwhile: the next


def _spent(before: Totals, after: Totals) -> Spent:
    cost = None if after.cost is None else after.cost - (before.cost or 0.0)
    tokens_in = after.prompt_tokens - before.prompt_tokens
    return Spent(tokens_in, after.completion_tokens - before.completion_tokens, cost)


def _do(task: Task, client: MeteredLLM) -> Write:
    if task.kind != "extract":
        raise MnemicError(f"this version knows no jobs of kind '{task.kind}'")
    extractor = LLMExtractor(client)
    found = [(number, extractor.extract(task.title, text)) for number, text in task.passages]

    def write(tx: Transaction) -> None:
        [(tenant,)] = tx.rows("SELECT tenant FROM job WHERE seq = ?", (task.seq,))
        for number, extracted in found:
            write_extracted(tx, tenant, number, extracted)

    return write
