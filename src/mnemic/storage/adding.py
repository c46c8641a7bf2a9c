"""Events on their way into the store: checked, extracted and embedded first, then written in short transactions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mnemic.errors import UsageError
from mnemic.storage.backend import Backend, Transaction, Vectors
from mnemic.storage.encoder import Encoder
from mnemic.storage.extracted import Extracted, given
from mnemic.storage.jobs import queue_job
from mnemic.storage.preparing import Prepared, prepared
from mnemic.storage.records import Event, ItemReport
from mnemic.storage.removing import recall_again
from mnemic.storage.summaries import queue_summaries
from mnemic.storage.tenants import begin_write, record_encoder
from mnemic.storage.writing import existing, write_event

__all__ = ["Extract", "Rules", "add_events", "as_events"]

Extract = Literal["auto", "rules", "llm", "none"]
Rules = Callable[[str, str], Extracted]
BATCH = 200  # events per transaction: others wait for some 50 ms at most


@dataclass(frozen=True)
class _Ready:
    """One event with everything that is written of it."""

    index: int
    key: str | None
    item: Prepared
    vectors: Vectors
    extracted: Sequence[Extracted]


@dataclass(frozen=True)
class _Asked:
    """Who else reads what is added: rules at once, a language model by a job; and whether sessions are summed up."""

    rules: Rules | None
    by_model: bool
    summarise: bool


def add_events(
    backend: Backend,
    tenant: int,
    encoder: Encoder,
    events: Sequence[Event],
    *,
    keys: Sequence[str | None],
    rules: Rules,
    extract: Extract,
    summarise: bool,
    actor: str,
) -> list[ItemReport]:
    """Write what is new; every batch that was written stays, whatever happens to the next.

    Args:
        keys: the idempotency key of each event.
        rules: finds entities in (title, text) of a passage without a language model.
        summarise: queue a job for each session that something came to.
    """
    asked = _Asked(rules if extract != "none" else None, extract == "llm", summarise)
    reports: list[ItemReport] = []
    for begin in range(0, len(events), BATCH):
        batch, names = events[begin : begin + BATCH], keys[begin : begin + BATCH]
        reports += _add_batch(backend, tenant, encoder, batch, names, asked, actor)
    return reports


def _add_batch(
    backend: Backend,
    tenant: int,
    encoder: Encoder,
    events: Sequence[Event],
    keys: Sequence[str | None],
    asked: _Asked,
    actor: str,
) -> list[ItemReport]:
    reports: dict[int, ItemReport] = {}
    items: dict[int, Prepared] = {}
    for index, event in enumerate(events):
        try:
            items[index] = prepared(event)
        except UsageError as wrong:
            reports[index] = ItemReport("failed", None, str(wrong))

    def known(tx: Transaction) -> dict[int, ItemReport]:
        found = {index: existing(tx, tenant, item, keys[index]) for index, item in items.items()}
        return {index: ItemReport("duplicate", row[1]) for index, row in found.items() if row and row[2] is None}

    reports |= backend.read(known, tenant)
    new = {index: item for index, item in items.items() if index not in reports}
    if new:
        ready = _embedded(encoder, new, keys, asked.rules)
        reports |= _write(backend, tenant, encoder, ready, actor, asked)
    return [reports[index] for index in range(len(events))]


def _embedded(
    encoder: Encoder, items: dict[int, Prepared], keys: Sequence[str | None], rules: Rules | None
) -> list[_Ready]:
    texts = [passage.indexed for item in items.values() for passage in item.passages]
    vectors = np.asarray(encoder.encode(texts), np.float32)
    ready, begin = [], 0
    for index, item in items.items():
        end = begin + len(item.passages)
        ready.append(_Ready(index, keys[index], item, vectors[begin:end], _extracted(item, rules)))
        begin = end
    return ready


def _extracted(item: Prepared, rules: Rules | None) -> list[Extracted]:
    """The caller's extraction stands with the first passage; without one, the rules read each."""
    event = item.event
    if event.entities is not None or event.facts is not None:
        return [given(event.entities or (), item.facts, event.text)]
    if rules is None or event.level not in ("turn", "chunk"):
        return []
    return [rules(event.title, passage.text) for passage in item.passages]


def _write(
    backend: Backend, tenant: int, encoder: Encoder, ready: Sequence[_Ready], actor: str, asked: _Asked
) -> dict[int, ItemReport]:
    def work(tx: Transaction) -> dict[int, ItemReport]:
        begin_write(tx, tenant, rewrites=False)
        number = record_encoder(tx, tenant, encoder)
        reports: dict[int, ItemReport] = {}
        recalled: list[int] = []
        for each in ready:
            there = existing(tx, tenant, each.item, each.key)
            if there is None:
                report, seq = write_event(
                    tx, tenant, number, each.item, each.vectors, each.extracted, key=each.key, actor=actor
                )
                recalled.append(seq)
                if asked.by_model and each.item.event.facts is None:
                    queue_job(tx, tenant, "extract", seq)
            else:
                seq, name, forgotten_at = there
                report = ItemReport("duplicate" if forgotten_at is None else "stored", name)
                if forgotten_at is not None:
                    begin_write(tx, tenant, rewrites=True)
                    recall_again(tx, tenant, seq, name, actor)
                    recalled.append(seq)
            reports[each.index] = report
        if asked.summarise:
            queue_summaries(tx, tenant, recalled)
        return reports

    return backend.write(work, tenant)


def as_events(given: Event | str | Iterable[Event | str]) -> list[Event]:
    """What `add` takes, as a list of events."""
    if isinstance(given, Event | str):
        given = [given]
    events = [Event(each) if isinstance(each, str) else each for each in given]
    for event in events:
        if not isinstance(event, Event):
            raise UsageError(f"events: {type(event).__name__} cannot be added; give an Event or text")
    return events
