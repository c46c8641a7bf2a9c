"""The jobs of all tenants together, for those who watch the server."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from mnemic.storage.backend import Backend

__all__ = ["JobCounts", "JobCounter"]

_SECONDS = 5.0


@dataclass(frozen=True)
class JobCounts:
    """Attributes:
    states: state -> jobs.
    tokens_in, tokens_out: that the jobs which the store still has have cost.
    """

    states: Counter[str] = field(default_factory=Counter)
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def waiting(self) -> int:
        return self.states["queued"] + self.states["failed"]


class JobCounter:
    """Counts at most every five seconds: a database may hold many tenants, and each shows its jobs to itself alone."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self._lock = backend, threading.Lock()
        self._counts, self._until = JobCounts(), 0.0

    def counts(self) -> JobCounts:
        with self._lock:
            if time.monotonic() >= self._until:
                self._counts = self._count()
                self._until = time.monotonic() + _SECONDS
            return self._counts

    def _count(self) -> JobCounts:
        states: Counter[str] = Counter()
        spent = [0, 0]
        for (tenant,) in self._backend.read(lambda tx: tx.rows("SELECT seq FROM tenant ORDER BY seq")):
            sql = "SELECT state, count(*), sum(tokens_in), sum(tokens_out) FROM job WHERE tenant = ? GROUP BY state"
            for state, count, tokens_in, tokens_out in self._backend.read(
                lambda tx, sql=sql, tenant=tenant: tx.rows(sql, (tenant,)),  # type: ignore[misc]
                tenant,
            ):
                states[state] += int(count)
                spent[0] += int(tokens_in)
                spent[1] += int(tokens_out)
        return JobCounts(states, *spent)
