"""What goes into a store and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mnemic.storage.times import Time

__all__ = [
    "AddReport",
    "AuditEntry",
    "Erased",
    "Event",
    "FactRecord",
    "Hit",
    "ItemReport",
    "Job",
    "NewFact",
    "StoredEvent",
]

JobState = Literal["queued", "running", "done", "failed", "dead"]


@dataclass(frozen=True)
class NewFact:
    """A fact that the caller states.

    Attributes:
        object: the name of an entity, or plain text where `literal`.
        valid_from, valid_to: when it holds, half open; None is unbounded.
    """

    subject: str
    predicate: str
    object: str
    literal: bool = False
    valid_from: Time = None
    valid_to: Time = None
    confidence: float | None = None


@dataclass(frozen=True)
class Event:
    """Something said, read or learnt.

    Attributes:
        text: kept exactly as it is.
        source: where it comes from, such as a file's name.
        session: the conversation it belongs to; what has one is one turn of it, all else is a document.
        actor: who said it.
        time: when.
        level: what it is, where neither "turn" nor "chunk" fits: "session", "summary" or "keyword", about its session.
        metadata: anything that JSON can hold.
        entities, facts: the caller's own extraction; given, no other is made.
    """

    text: str
    source: str = ""
    session: str = ""
    actor: str = ""
    title: str = ""
    time: Time = None
    level: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    entities: Sequence[str] | None = None
    facts: Sequence[NewFact | tuple[str, str, str]] | None = None


@dataclass(frozen=True)
class ItemReport:
    """What became of one event: "stored", "duplicate" of the event `id`, or "failed" for `reason`."""

    status: Literal["stored", "duplicate", "failed"]
    id: str | None
    reason: str = ""


@dataclass(frozen=True)
class AddReport:
    """What became of every event, in the order given."""

    items: tuple[ItemReport, ...]

    @property
    def ids(self) -> list[str | None]:
        return [item.id for item in self.items]

    def count(self, status: Literal["stored", "duplicate", "failed"]) -> int:
        return sum(item.status == status for item in self.items)

    @property
    def stored(self) -> int:
        return self.count("stored")

    @property
    def duplicates(self) -> int:
        return self.count("duplicate")

    @property
    def failed(self) -> int:
        return self.count("failed")


@dataclass(frozen=True)
class StoredEvent:
    """An event as the store holds it; times are UTC microseconds.

    Attributes:
        forgotten_at: when it was taken out of what is recalled, None while it is recalled.
        version: 1, and one more with every change of its metadata.
    """

    id: str
    text: str
    source: str
    session: str
    actor: str
    title: str
    time: int | None
    ingested_at: int
    metadata: Mapping[str, Any]
    forgotten_at: int | None
    version: int


@dataclass(frozen=True)
class FactRecord:
    """A fact with both of its times: when it holds, and when the store knew it (UTC microseconds, half open).

    Attributes:
        retracted_at: since when the store no longer claims it.
        superseded_by: the id of the fact that took its place.
        extractor: who found it: "given", "rules/1", a model's name, "user" for one that no event states.
        events: ids of the events that state it.
    """

    id: str
    subject: str
    predicate: str
    object: str
    valid_from: int | None
    valid_to: int | None
    recorded_at: int
    retracted_at: int | None
    superseded_by: str | None
    confidence: float | None
    extractor: str
    events: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """1 until it is superseded or retracted, then 2: a fact changes once."""
        return 1 if self.retracted_at is None and self.superseded_by is None else 2


@dataclass(frozen=True)
class Hit:
    """One recalled passage.

    Attributes:
        parts: what the score is made of, by name.
        path: how it was reached.
        provenance: event, source, session, actor, time (ISO 8601), title, level.
    """

    id: str
    text: str
    score: float
    parts: Mapping[str, float]
    path: tuple[str, ...]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """Work that waits for a language model, or was done by one.

    Attributes:
        event: the id of the event that it is about.
        cost: what the model's calls cost, None where its price is not known.
    """

    id: str
    kind: str
    event: str | None
    state: JobState
    attempts: int
    lease_until: int | None
    tokens_in: int
    tokens_out: int
    cost: float | None
    error: str
    created_at: int
    updated_at: int


@dataclass(frozen=True)
class Erased:
    """How many rows went."""

    events: int
    passages: int
    entities: int
    facts: int
    jobs: int


@dataclass(frozen=True)
class AuditEntry:
    """Who did what, when; hashes instead of contents, and none after an erasure."""

    at: int
    actor: str
    action: str
    subject: str
    before: str | None
    after: str | None
