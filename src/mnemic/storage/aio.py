"""`AsyncMemoryStore`: the same store for programs that await."""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from mnemic.storage.adding import Extract
from mnemic.storage.encoder import Encoder
from mnemic.storage.measuring import Stats
from mnemic.storage.records import (
    AddReport,
    AuditEntry,
    Erased,
    Event,
    FactRecord,
    Hit,
    Job,
    NewFact,
    StoredEvent,
)
from mnemic.storage.store import MemoryStore
from mnemic.storage.times import Time
from mnemic.storage.transfer import Imported
from mnemic.storage.view import View

if TYPE_CHECKING:
    from mnemic.llm import MeteredLLM
    from mnemic.storage.job_runner import JobsReport

__all__ = ["AsyncMemoryStore"]

P = ParamSpec("P")
T = TypeVar("T")


class AsyncMemoryStore:
    """A `MemoryStore` whose methods are awaited; each says what its namesake there does. Made by `open`.

    The work is done in threads of its own, so the event loop is never held up. A call that is cancelled while it runs
    is finished all the same: a write is whole or was never begun.
    """

    def __init__(self, store: MemoryStore, *, threads: int = 8) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mnemic-async")

    @classmethod
    async def open(cls, location: str | os.PathLike[str], **options: Any) -> Self:
        """Options are those of `MemoryStore.open`."""
        return cls(await asyncio.to_thread(partial(MemoryStore.open, location, **options)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _do(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **options))

    async def acting_as(self, actor: str) -> Self:
        twin = copy.copy(self)
        twin._store = self._store.acting_as(actor)
        return twin

    async def close(self) -> None:
        await self._do(self._store.close)
        self._pool.shutdown(wait=False)

    @property
    def tenant(self) -> str:
        return self._store.tenant

    async def add(
        self,
        events: Event | str | Iterable[Event | str],
        *,
        idempotency_key: str | None = None,
        entities: Sequence[str] | None = None,
        facts: Sequence[NewFact | tuple[str, str, str]] | None = None,
        extract: Extract = "auto",
        summarise: bool = False,
    ) -> AddReport:
        return await self._do(
            self._store.add,
            events,
            idempotency_key=idempotency_key,
            entities=entities,
            facts=facts,
            extract=extract,
            summarise=summarise,
        )

    async def get(self, event_id: str) -> StoredEvent:
        return await self._do(self._store.get, event_id)

    async def events(self, *, filter: Mapping[str, str] | None = None) -> list[StoredEvent]:
        return await self._do(self._store.events, filter=filter)

    async def annotate(self, event_id: str, metadata: Mapping[str, Any], *, expected_version: int | None = None) -> int:
        return await self._do(self._store.annotate, event_id, metadata, expected_version=expected_version)

    async def view(self, *, filters: Mapping[str, str] | None = None, at: Time = None, known_at: Time = None) -> View:
        return await self._do(self._store.view, filters=filters, at=at, known_at=known_at)

    async def search(
        self,
        query: str,
        *,
        k: int = 10,
        method: str = "auto",
        at: Time = None,
        known_at: Time = None,
        filters: Mapping[str, str] | None = None,
    ) -> list[Hit]:
        return await self._do(self._store.search, query, k=k, method=method, at=at, known_at=known_at, filters=filters)

    async def facts(
        self, subject: str | None = None, predicate: str | None = None, *, at: Time = None, known_at: Time = None
    ) -> list[FactRecord]:
        return await self._do(self._store.facts, subject, predicate, at=at, known_at=known_at)

    async def timeline(self, subject: str | None = None, predicate: str | None = None) -> list[FactRecord]:
        return await self._do(self._store.timeline, subject, predicate)

    async def supersede(
        self, fact_id: str, new: NewFact | tuple[str, str, str], *, expected_version: int | None = None
    ) -> str:
        return await self._do(self._store.supersede, fact_id, new, expected_version=expected_version)

    async def retract(self, fact_id: str, *, expected_version: int | None = None) -> None:
        await self._do(self._store.retract, fact_id, expected_version=expected_version)

    async def forget(
        self, ids: Sequence[str] | None = None, *, filter: Mapping[str, str] | None = None, hard: bool = False
    ) -> int:
        return await self._do(self._store.forget, ids, filter=filter, hard=hard)

    async def erase(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, str] | None = None,
        subject: str | None = None,
        everything: bool = False,
        scrub: bool = False,
    ) -> Erased:
        return await self._do(
            self._store.erase, ids, filter=filter, subject=subject, everything=everything, scrub=scrub
        )

    async def history(self, subject: str | None = None, *, limit: int = 100) -> list[AuditEntry]:
        return await self._do(self._store.history, subject, limit=limit)

    async def jobs(self, state: str | None = None, *, limit: int | None = None) -> list[Job]:
        return await self._do(self._store.jobs, state, limit=limit)

    async def run_jobs(
        self, client: MeteredLLM | None, *, max_seconds: float | None = None, max_jobs: int | None = None
    ) -> JobsReport:
        return await self._do(self._store.run_jobs, client, max_seconds=max_seconds, max_jobs=max_jobs)

    async def retry_jobs(self) -> int:
        return await self._do(self._store.retry_jobs)

    async def stats(self) -> Stats:
        return await self._do(self._store.stats)

    async def digest(self) -> str:
        return await self._do(self._store.digest)

    async def check(self) -> list[str]:
        return await self._do(self._store.check)

    async def reembed(self, encoder: Encoder | str) -> int:
        return await self._do(self._store.reembed, encoder)

    async def export(self, path: str | os.PathLike[str]) -> int:
        return await self._do(self._store.export, path)

    async def import_(self, path: str | os.PathLike[str]) -> Imported:
        return await self._do(self._store.import_, path)

    async def backup(self, path: str | os.PathLike[str]) -> None:
        await self._do(self._store.backup, path)
