"""Doing the jobs of a tenant, one after another, until none is due: with a language model, or what needs none."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from mnemic.errors import MnemicError
from mnemic.llm import LLMError, MeteredLLM, Totals
from mnemic.storage.backend import Backend, Transaction
from mnemic.storage.encoder import Encoder
from mnemic.storage.jobs import Spent, Task, Write, claim_job, fail_job, find_jobs, finish_job, hand_back_job
from mnemic.storage.llm_extraction import LLMExtractor
from mnemic.storage.records import Job
from mnemic.storage.summaries import SUMMARISE, new_summary, read_session, write_summary
from mnemic.storage.summarising import CentralSentences, LLMSummariser
from mnemic.storage.times import new_id
from mnemic.storage.writing import write_extracted

__all__ = ["JobsReport", "run_jobs"]

_EXTRACT = "extract"


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
    backend: Backend,
    tenant: int,
    client: MeteredLLM | None,
    encoder: Callable[[], Encoder],
    *,
    max_seconds: float | None = None,
    max_jobs: int | None = None,
) -> JobsReport:
    """See `MemoryStore.run_jobs`.

    Args:
        encoder: loads it, for what jobs add.
    """
    began, before, owner = time.monotonic(), _totals(client), new_id()
    worker = _Worker(backend, tenant, client, encoder)
    ends: Counter[str] = Counter()
    stopped = ""
    while not stopped:
        if max_seconds is not None and time.monotonic() - began >= max_seconds:
            stopped = f"{max_seconds:g} seconds are over"
        elif max_jobs is not None and ends.total() >= max_jobs:
            stopped = f"{max_jobs} jobs were tried"
        else:
            try:
                job = _run_job(worker, owner)
            except LLMError as failed:
                stopped = str(failed)
            else:
                if job is None:
                    break
                ends[job.state] += 1
    after = _totals(client)
    return JobsReport(
        ends["done"],
        ends["failed"],
        ends["dead"],
        after.prompt_tokens - before.prompt_tokens,
        after.completion_tokens - before.completion_tokens,
        time.monotonic() - began,
        stopped,
    )


@dataclass(frozen=True)
class _Worker:
    """What doing jobs takes."""

    backend: Backend
    tenant: int
    client: MeteredLLM | None
    encoder: Callable[[], Encoder]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of the jobs that it can do."""
        return (SUMMARISE,) if self.client is None else (SUMMARISE, _EXTRACT)

    def do(self, task: Task) -> Write:
        if task.kind == SUMMARISE:
            return self._summarise(task.session)
        assert self.client is not None
        extractor = LLMExtractor(self.client)
        found = [(number, extractor.extract(task.title, text)) for number, text in task.passages]

        def write(tx: Transaction) -> None:
            for number, extracted in found:
                write_extracted(tx, self.tenant, number, extracted)

        return write

    def _summarise(self, session: str) -> Write:
        encoder = self.encoder()
        summariser = CentralSentences(encoder) if self.client is None else LLMSummariser(self.client)
        told = self.backend.read(lambda tx: read_session(tx, self.tenant, session), self.tenant)
        new = new_summary(told, summariser, encoder)

        def write(tx: Transaction) -> None:
            if new is not None:
                write_summary(tx, self.tenant, encoder, new, summariser.name)

        return write


def _run_job(worker: _Worker, owner: str) -> Job | None:
    """Take one job that is due and do it; its results are written in the transaction that ends it. None: none is due.

    A job that fails is tried again later, 5 times at most. Who is killed while at it loses the lease after 10 minutes,
    and another does the job.

    Raises:
        LLMError: one after which no job would fare better; the job is due as before.
    """
    backend, tenant, client = worker.backend, worker.tenant, worker.client
    task = backend.write(lambda tx: claim_job(tx, tenant, owner, worker.kinds), tenant)
    if task is None:
        return None
    before = _totals(client)
    try:
        write = worker.do(task)
    except MnemicError as failed:
        reason, spent = str(failed), _spent(before, _totals(client))
        if isinstance(failed, LLMError) and failed.fatal:
            backend.write(lambda tx: hand_back_job(tx, task, owner, spent, reason), tenant)
            raise
        backend.write(lambda tx: fail_job(tx, task, owner, spent, reason), tenant)
    except BaseException:
        spent = _spent(before, _totals(client))
        backend.write(lambda tx: hand_back_job(tx, task, owner, spent, ""), tenant)
        raise
    else:
        spent = _spent(before, _totals(client))
        backend.write(lambda tx: finish_job(tx, tenant, task, owner, spent, write), tenant)
    found = backend.read(lambda tx: find_jobs(tx, tenant, name=task.id), tenant)
    return found[0] if found else _run_job(worker, owner)  # erased meanwhile: the next


def _spent(before: Totals, after: Totals) -> Spent:
    cost = None if after.cost is None else after.cost - (before.cost or 0.0)
    tokens_in = after.prompt_tokens - before.prompt_tokens
    return Spent(tokens_in, after.completion_tokens - before.completion_tokens, cost)


def _totals(client: MeteredLLM | None) -> Totals:
    return Totals() if client is None else client.totals
