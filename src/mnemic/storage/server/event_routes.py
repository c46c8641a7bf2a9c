"""Events: added, read, changed, forgotten, erased, and what was done to them."""

import time
from typing import Annotated

from fastapi import FastAPI, Header, Path, Query, Request

from mnemic.errors import UsageError
from mnemic.storage.records import Event, ItemReport, StoredEvent
from mnemic.storage.server.access import Memory
from mnemic.storage.server.bodies import AddBody, AnnotateBody, ChosenEvents, HistoryQuery, SearchBody
from mnemic.storage.server.event_replies import (
    AddReply,
    EraseReply,
    EventReply,
    ForgetReply,
    HistoryReply,
    SearchReply,
    VersionReply,
    event_reply,
    hit_reply,
    item_reply,
)
from mnemic.storage.server.metrics import Metrics
from mnemic.storage.server.problems import refusals
from mnemic.storage.store import MemoryStore
from mnemic.storage.times import microseconds

__all__ = ["add_event_routes"]

EventId = Annotated[str, Path(description="the id of an event", examples=["019b8f2e-6c1d-7a3e-9d0b-3f6f0a1c2d4e"])]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=900,
        description="sent again with the same events, this stores nothing twice",
    ),
]


def add_event_routes(app: FastAPI) -> None:
    app.add_api_route("/v1/events", add, methods=["POST"], tags=["events"], responses=refusals(413, 415))
    app.add_api_route("/v1/events", drop_chosen, methods=["DELETE"], tags=["events"], responses=refusals())
    app.add_api_route("/v1/events/{event_id}", read, methods=["GET"], tags=["events"], responses=refusals(404))
    app.add_api_route(
        "/v1/events/{event_id}", annotate, methods=["PATCH"], tags=["events"], responses=refusals(404, 409, 413, 415)
    )
    app.add_api_route("/v1/events/{event_id}", drop, methods=["DELETE"], tags=["events"], responses=refusals(404))
    app.add_api_route("/v1/subjects/{name}", erase_subject, methods=["DELETE"], tags=["events"], responses=refusals())
    app.add_api_route("/v1/search", search, methods=["POST"], tags=["search"], responses=refusals(413, 415))
    app.add_api_route("/v1/history", history, methods=["GET"], tags=["events"], responses=refusals())


def add(request: Request, body: AddBody, memory: Memory, idempotency_key: Key = None) -> AddReply:
    """Keep events. What the reply calls stored is on the disk; one that cannot be kept keeps no other back."""
    events = [each.event() for each in body.events]
    report = memory.add(events, idempotency_key=idempotency_key, extract=body.extract)
    items = report.items
    if idempotency_key is not None:
        items = tuple(_honest(memory, event, item) for event, item in zip(events, items, strict=True))
    metrics: Metrics = request.app.state.metrics
    metrics.added(items)
    counts = {status: sum(item.status == status for item in items) for status in ("stored", "duplicate", "failed")}
    return AddReply(
        items=[item_reply(item) for item in items],
        stored=counts["stored"],
        duplicates=counts["duplicate"],
        failed=counts["failed"],
    )


def _honest(memory: MemoryStore, event: Event, report: ItemReport) -> ItemReport:
    """Nobody is told that an event is there, when all that is there is another one under the same key."""
    if report.status != "duplicate" or report.id is None:
        return report
    if _same(memory.get(report.id), event):
        return report
    reason = f"the Idempotency-Key was used for another event, '{report.id}'; use a new key for other events"
    return ItemReport("failed", None, reason)


def _same(there: StoredEvent, event: Event) -> bool:
    names = ("text", "source", "session", "actor", "title")
    return there.time == microseconds(event.time) and all(getattr(there, n) == getattr(event, n) for n in names)


def read(event_id: EventId, memory: Memory) -> EventReply:
    """An event as it was added, also one that was forgotten."""
    return event_reply(memory.get(event_id))


def annotate(event_id: EventId, body: AnnotateBody, memory: Memory) -> VersionReply:
    """Put other metadata in the place of an event's; its text never changes."""
    version = memory.annotate(event_id, body.metadata, expected_version=body.expected_version)
    return VersionReply(id=event_id, version=version)


Erase = Annotated[bool, Query(description="delete it for good, with what was derived from it alone")]


def drop(event_id: EventId, memory: Memory, erase: Erase = False) -> ForgetReply | EraseReply:
    """Recall an event no more; it stays in the history. With `erase`: delete it for good."""
    if erase:
        return EraseReply.of(memory.erase([event_id]))
    return ForgetReply(forgotten=memory.forget([event_id]))


def drop_chosen(chosen: Annotated[ChosenEvents, Query()], memory: Memory) -> ForgetReply | EraseReply:
    """The same for all events of a session, a source, an actor or a title; of several, for those that all fit."""
    if chosen.everything and not chosen.erase:
        raise UsageError("everything can only be erased: add erase=true")
    if chosen.everything and chosen.filter():
        raise UsageError("everything leaves nothing to choose; leave out either it or the filters")
    if chosen.erase:
        return EraseReply.of(memory.erase(filter=chosen.filter() or None, everything=chosen.everything))
    return ForgetReply(forgotten=memory.forget(filter=chosen.filter() or None))


def erase_subject(
    name: Annotated[str, Path(description="a person or a thing", examples=["Anna"])], memory: Memory
) -> EraseReply:
    """Delete for good every event that has this name in its text or as its actor, or states a fact about it, and all
    facts about it."""
    return EraseReply.of(memory.erase(subject=name))


def search(request: Request, body: SearchBody, memory: Memory) -> SearchReply:
    """The passages that answer a question best."""
    began = time.perf_counter()
    hits = memory.search(
        body.query, k=body.k, method=body.method, at=body.at, known_at=body.known_at, filters=body.filters.given()
    )
    seconds = time.perf_counter() - began
    metrics: Metrics = request.app.state.metrics
    metrics.searches.labels(body.method).observe(seconds)
    return SearchReply(hits=[hit_reply(hit, explain=body.explain) for hit in hits], method=body.method, seconds=seconds)


def history(chosen: Annotated[HistoryQuery, Query()], memory: Memory) -> HistoryReply:
    """Who changed what and when, the latest first."""
    return HistoryReply.of(memory.history(chosen.id, limit=chosen.limit))
