"""`MemoryStore`: what was said, read and learnt, kept exactly, found by words, meaning and graph."""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mnemic.errors import UsageError
from mnemic.storage import events as stored
from mnemic.storage.adding import Extract, add_events, as_events
from mnemic.storage.audit import history
from mnemic.storage.backend import Backend, Transaction
from mnemic.storage.conflicts import NotFound
from mnemic.storage.encoder import Encoder
from mnemic.storage.encoders import DEFAULT_ENCODER, open_encoder
from mnemic.storage.facts import find_facts, retract_fact, supersede_fact
from mnemic.storage.importing import import_file
from mnemic.storage.jobs import find_jobs, retry_jobs
from mnemic.storage.measuring import Stats, digest, measure
from mnemic.storage.opening import open_backend
from mnemic.storage.preparing import check_key, checked_fact, metadata_text
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
from mnemic.storage.reembedding import reembed
from mnemic.storage.removing import erase_events, erase_stated_facts, forget_events
from mnemic.storage.rule_extraction import extract_by_rules
from mnemic.storage.searching import WHOLE, Searcher, check_filters
from mnemic.storage.summaries import queue_summaries, summaries_about
from mnemic.storage.tenants import Tenant, begin_write, check_name, find_tenant, make_tenant, other_encoder
from mnemic.storage.times import Time, microseconds
from mnemic.storage.transfer import Imported, export_tenant
from mnemic.storage.view import Method, View

if TYPE_CHECKING:
    from mnemic.llm import MeteredLLM
    from mnemic.storage.job_runner import JobsReport

__all__ = ["MemoryStore"]

T = TypeVar("T")


class MemoryStore:
    """One tenant's memory in a file or a PostgreSQL database; made by `open`. Safe to use from many threads.

    What `add` has returned is durable, and is found from then on. Nothing that a language model does changes or
    removes it.
    """

    def __init__(self, backend: Backend, *, tenant: str, encoder: Encoder | None, actor: str) -> None:
        self._backend, self._name, self._actor = backend, check_name(tenant), actor
        self._encoder = encoder
        self._number: int | None = None
        self._searcher = Searcher(backend, self._existing)

    @classmethod
    def open(
        cls,
        location: str | os.PathLike[str],
        *,
        tenant: str = "default",
        encoder: Encoder | str | None = None,
        read_only: bool = False,
        durability: str = "normal",
        secure_delete: bool = False,
        actor: str = "",
    ) -> Self:
        """Open a store, and make it where there is none.

        Args:
            location: a file, or "postgresql://…".
            tenant: whose memory; tenants of one database never see one another.
            encoder: what turns texts into vectors, or its name; None: the one that the store was made with, and for a
                new store "wordllama".
            durability: "full" waits for the disk at every write; with "normal" a power cut can take the last moments,
                a crash nothing.
            secure_delete: what is erased is overwritten.
            actor: who is named in the history; the default is the user and the machine.

        Raises:
            UsageError: the store cannot be opened so, or its vectors are of another encoder.
        """
        backend = open_backend(location, read_only=read_only, durability=durability, secure_delete=secure_delete)
        try:
            store = cls(backend, tenant=tenant, encoder=None, actor=actor or _user())
            store._choose_encoder(encoder)
        except BaseException:
            backend.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MemoryStore({self._backend.location!r}, tenant={self._name!r})"

    def acting_as(self, actor: str) -> Self:
        """The same store, opened once, with another name in the history."""
        twin = copy.copy(self)
        twin._actor = actor
        return twin

    def close(self) -> None:
        """Finish what is being written and let go of the database."""
        self._searcher.close()
        self._backend.close()

    @property
    def tenant(self) -> str:
        return self._name

    @property
    def encoder(self) -> Encoder:
        """What turns texts into vectors; loaded when it is first needed."""
        if self._encoder is None:
            tenant = self._backend.read(self._tenant)
            self._encoder = self._loaded(tenant.encoder if tenant else None, None)
        return self._encoder

    def _choose_encoder(self, wanted: Encoder | str | None) -> None:
        recorded = None if (tenant := self._backend.read(self._tenant)) is None else tenant.encoder
        if wanted is None:
            return
        if isinstance(wanted, str):
            if recorded is not None and recorded[0] == wanted:
                return
            wanted = open_encoder(wanted)
        self._encoder = self._loaded(recorded, wanted)

    @staticmethod
    def _loaded(recorded: tuple[str, str] | None, wanted: Encoder | None) -> Encoder:
        encoder = wanted or open_encoder(recorded[0] if recorded else DEFAULT_ENCODER)
        if recorded is not None and recorded != (encoder.name, encoder.revision):
            raise other_encoder(recorded, encoder)
        return encoder

    def _tenant(self, tx: Transaction) -> Tenant | None:
        return find_tenant(tx, self._name)

    def _existing(self) -> int | None:
        """The tenant's number; None while it holds nothing."""
        if self._number is None:
            tenant = self._backend.read(self._tenant)
            self._number = None if tenant is None else tenant.seq
        return self._number

    def _made(self) -> int:
        if self._existing() is None:
            self._number = self._backend.write(lambda tx: make_tenant(tx, self._name))
        assert self._number is not None
        return self._number

    def add(
        self,
        events: Event | str | Iterable[Event | str],
        *,
        idempotency_key: str | None = None,
        entities: Sequence[str] | None = None,
        facts: Sequence[NewFact | tuple[str, str, str]] | None = None,
        extract: Extract = "auto",
        summarise: bool = False,
    ) -> AddReport:
        """Keep events and make them findable. The same again, by source, content and time or by the key, changes
        nothing and is reported as a duplicate; one that cannot be kept is reported as failed and keeps no other back.

        Args:
            idempotency_key: of one event, or of a whole list, which then must be the same list each time.
            entities, facts: the caller's own extraction, of one event.
            extract: who else looks for entities and facts: "rules" at once, "llm" by a job that `run_jobs` does
                (besides the rules), "none"; "auto" is "rules".
            summarise: leave a job, for each session that something comes to, that sums it up.
        """
        if extract not in ("auto", "rules", "llm", "none"):
            raise UsageError(f"extract is '{extract}'; must be auto, rules, llm or none")
        items = as_events(events)
        single = isinstance(events, Event | str)
        if entities is not None or facts is not None:
            if not single:
                raise UsageError("entities and facts belong to one event; in a list, give each Event its own")
            items = [_with_extraction(items[0], entities, facts)]
        keys: list[str | None] = [None] * len(items)
        if idempotency_key is not None:
            check_key(idempotency_key)
            keys = [idempotency_key] if single else [f"{idempotency_key}/{index}" for index in range(len(items))]
        reports = add_events(
            self._backend,
            self._made(),
            self.encoder,
            items,
            keys=keys,
            rules=extract_by_rules,
            extract=extract,
            summarise=summarise,
            actor=self._actor,
        )
        return AddReport(tuple(reports))

    def get(self, event_id: str) -> StoredEvent:
        """An event as it was added, also one that was forgotten.

        Raises:
            NotFound: there is none of that id.
        """
        tenant = self._existing()
        found = None
        if tenant is not None:
            number = tenant
            found = self._backend.read(lambda tx: stored.get_event(tx, number, event_id), number)
        if found is None:
            raise NotFound(f"event '{event_id:.80}' is not in this store")
        return found

    def events(self, *, filter: Mapping[str, str] | None = None) -> list[StoredEvent]:
        """What is recalled, event by event, in the order in which it was said.

        Args:
            filter: session, source, actor or title -> the value it must have.
        """
        tenant = self._existing()
        if tenant is None:
            return []
        return self._backend.read(lambda tx: stored.find_events(tx, tenant, filter), tenant)

    def annotate(self, event_id: str, metadata: Mapping[str, Any], *, expected_version: int | None = None) -> int:
        """Put other metadata in the place of an event's; its text never changes. The event's new version.

        Args:
            expected_version: the version that the caller has read.

        Raises:
            Conflict: the event is of another version by now.
        """
        text = metadata_text(metadata)
        return self._changed(
            lambda tx, tenant: stored.annotate_event(tx, tenant, event_id, text, expected_version, self._actor)
        )

    def view(self, *, filters: Mapping[str, str] | None = None, at: Time = None, known_at: Time = None) -> View:
        """Everything that recall methods see, with the graph; see `search` for the arguments."""
        recalled = self._searcher.recalled(
            self.encoder,
            method=WHOLE,
            filters=check_filters(filters),
            at=microseconds(at, "at"),
            known_at=microseconds(known_at, "known_at"),
        )
        return recalled.view

    def search(
        self,
        query: str,
        *,
        k: int = 10,
        method: str | Method = "auto",
        at: Time = None,
        known_at: Time = None,
        filters: Mapping[str, str] | None = None,
    ) -> list[Hit]:
        """The passages that answer a question best.

        Args:
            method: a recall method, such as "hybrid", or one with options of its own, as `recall.open_method` makes
                them; "auto" chooses by what the store holds.
            at: what was said up to then.
            known_at: what had been added by then.
            filters: session, source, actor, level or title -> the value it must have.
        """
        return self._searcher.search(
            self.encoder,
            query,
            k=k,
            method=method,
            at=microseconds(at, "at"),
            known_at=microseconds(known_at, "known_at"),
            filters=check_filters(filters),
        )

    def facts(
        self,
        subject: str | None = None,
        predicate: str | None = None,
        *,
        at: Time = None,
        known_at: Time = None,
    ) -> list[FactRecord]:
        """Facts that hold at `at`, as the store knew them at `known_at`; without a time, all that it claims now."""
        tenant = self._existing()
        if tenant is None:
            return []
        holds, known = microseconds(at, "at"), microseconds(known_at, "known_at")
        return self._backend.read(
            lambda tx: find_facts(tx, tenant, subject=subject, predicate=predicate, at=holds, known_at=known), tenant
        )

    def timeline(self, subject: str | None = None, predicate: str | None = None) -> list[FactRecord]:
        """Every fact that the store has ever claimed, with both of its times, in the order in which it learnt them."""
        tenant = self._existing()
        if tenant is None:
            return []
        return self._backend.read(
            lambda tx: find_facts(tx, tenant, subject=subject, predicate=predicate, ever=True), tenant
        )

    def supersede(
        self, fact_id: str, new: NewFact | tuple[str, str, str], *, expected_version: int | None = None
    ) -> str:
        """The fact holds until the new one begins, and the new one from then on; returns the new one's id.

        Args:
            expected_version: the version that the caller has read.

        Raises:
            Conflict: the fact is of another version by now.
        """
        fact = checked_fact(new)
        return self._changed(
            lambda tx, tenant: supersede_fact(tx, tenant, fact_id, fact, expected_version, self._actor)
        )

    def retract(self, fact_id: str, *, expected_version: int | None = None) -> None:
        """The fact never held; what the store knew before is still told for `known_at` before now.

        Args, Raises: as `supersede`.
        """
        self._changed(lambda tx, tenant: retract_fact(tx, tenant, fact_id, expected_version, self._actor))

    def forget(
        self, ids: Sequence[str] | None = None, *, filter: Mapping[str, str] | None = None, hard: bool = False
    ) -> int:
        """Recall these events no more. They stay in the history and come back when they are added again.

        Args:
            filter: session, source, actor or title -> the value it must have.
            hard: erase them instead.

        Returns:
            How many were forgotten.
        """
        if hard:
            return self.erase(ids, filter=filter).events

        def work(tx: Transaction, tenant: int) -> int:
            chosen = stored.choose_events(tx, tenant, ids, filter)
            about, left = summaries_about(tx, tenant, chosen)
            count = forget_events(tx, tenant, chosen, self._actor)
            forget_events(tx, tenant, about, self._actor)
            queue_summaries(tx, tenant, left)
            return count

        return self._changed(work)

    def erase(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, str] | None = None,
        subject: str | None = None,
        everything: bool = False,
        scrub: bool = False,
    ) -> Erased:
        """Delete events for good, with all that was derived from them alone. The history keeps ids, no contents.

        Args:
            filter: session, source, actor or title -> the value it must have.
            subject: every event that has this name in its text, in any case, or as its actor, or states a fact about
                it; and all facts about it.
            everything: all events and facts of the tenant.
            scrub: also overwrite them on the disk, which rewrites the file.
        """

        def work(tx: Transaction, tenant: int) -> Erased:
            chosen = stored.choose_events(tx, tenant, ids, filter, subject=subject, everything=everything)
            about, left = summaries_about(tx, tenant, chosen)
            erased = erase_events(tx, tenant, [*chosen, *about], self._actor)
            queue_summaries(tx, tenant, left)
            if subject is None and not everything:
                return erased
            names = None if subject is None else stored.names_of(subject)
            facts, entities = erase_stated_facts(tx, tenant, names)
            return replace(erased, facts=erased.facts + facts, entities=erased.entities + entities)

        erased = self._changed(work)
        if scrub:
            self._searcher.scrub()
            self._backend.scrub()
        return erased

    def _changed(self, work: Callable[[Transaction, int], T]) -> T:
        """Run a write that is more than adding."""
        tenant = self._made()

        def whole(tx: Transaction) -> T:
            begin_write(tx, tenant, rewrites=True)
            return work(tx, tenant)

        return self._backend.write(whole, tenant)

    def history(self, subject: str | None = None, *, limit: int = 100) -> list[AuditEntry]:
        """Who changed what and when, the latest first; of one event or fact by its id, or of all."""
        tenant = self._existing()
        return [] if tenant is None else self._backend.read(lambda tx: history(tx, tenant, subject, limit), tenant)

    def jobs(self, state: str | None = None, *, limit: int | None = None) -> list[Job]:
        """Work for a language model: what waits, what was done and what it cost, the oldest first.

        Args:
            limit: only the latest so many.
        """
        tenant = self._existing()
        if tenant is None:
            return []
        return self._backend.read(lambda tx: find_jobs(tx, tenant, state, limit=limit), tenant)

    def run_jobs(
        self, client: MeteredLLM | None, *, max_seconds: float | None = None, max_jobs: int | None = None
    ) -> JobsReport:
        """Do the jobs that are due with a language model, until none is. Several processes may do so at once.

        An endpoint that goes away loses nothing: its jobs stay, and are done when this is called again.

        Args:
            client: None: only what needs no model is done, which is summing up sessions by their most central
                sentences.
            max_seconds: no new job is begun after that.
            max_jobs: no more than that.
        """
        from mnemic.storage.job_runner import run_jobs

        return run_jobs(
            self._backend, self._made(), client, lambda: self.encoder, max_seconds=max_seconds, max_jobs=max_jobs
        )

    def retry_jobs(self) -> int:
        """Have failed and dead jobs tried again by the next `run_jobs`. How many."""
        tenant = self._made()
        return self._backend.write(lambda tx: retry_jobs(tx, tenant), tenant)

    def stats(self) -> Stats:
        """How much the tenant holds; bytes are of the whole database."""
        return measure(self._backend, self._existing())

    def digest(self) -> str:
        """The same for two stores that hold the same, in whatever order it was added."""
        return digest(self._backend, self._existing())

    def check(self) -> list[str]:
        """What is wrong with the database; nothing is []."""
        return self._backend.check()

    def reembed(self, encoder: Encoder | str) -> int:
        """Change the encoder: every passage is embedded anew. How many were; nothing else changes, nothing is lost."""
        new = open_encoder(encoder) if isinstance(encoder, str) else encoder
        made = reembed(self._backend, self._made(), new)
        self._encoder = new
        return made

    def export(self, path: str | os.PathLike[str]) -> int:
        """The tenant as JSON lines, for another store to `import_`. How many events."""
        return export_tenant(self._backend, self._existing(), self._name, Path(path))

    def import_(self, path: str | os.PathLike[str]) -> Imported:
        """Take in what `export` wrote. What is there already stays as it is."""
        return import_file(self._backend, self._made(), self.encoder, Path(path), self._actor)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """A whole copy, all tenants, while others write. The file appears when it is complete."""
        target = Path(path)
        if target.exists():
            raise UsageError(f"backup '{target}' exists; name a new file")
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            self._backend.backup(part)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)


def _with_extraction(event: Event, entities: Sequence[str] | None, facts: Sequence[Any] | None) -> Event:
    return replace(
        event,
        entities=entities if entities is not None else event.entities,
        facts=facts if facts is not None else event.facts,
    )


def _user() -> str:
    name = os.environ.get("USER") or os.environ.get("USERNAME") or "user"
    return f"{name}@{socket.gethostname()}"
