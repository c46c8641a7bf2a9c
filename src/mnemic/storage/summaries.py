"""Summaries of sessions in the store: events of level "summary" and "keyword" that a job has made out of the turns.

A new one takes the place of the one before, which stays in the history as forgotten. What was forgotten or erased of a
session takes its summaries with it, which tell of it; a job makes new ones out of what is left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemic.storage.backend import Transaction, Vectors, batches, marks
from mnemic.storage.encoder import Encoder
from mnemic.storage.jobs import queue_job
from mnemic.storage.preparing import Prepared, prepared
from mnemic.storage.records import Event
from mnemic.storage.removing import forget_events, recall_again
from mnemic.storage.tenants import record_encoder
from mnemic.storage.writing import existing, write_event

if TYPE_CHECKING:
    from mnemic.storage.summarising import Summariser

__all__ = [
    "SOURCE",
    "SUMMARISE",
    "NewSummary",
    "Told",
    "new_summary",
    "queue_summaries",
    "read_session",
    "summaries_about",
    "write_summary",
]

SUMMARISE = "summarise"  # kind of the jobs
SOURCE = "mnemic/summary"  # of the events that they make
_MADE = ("summary", "keyword")


@dataclass(frozen=True)
class Told:
    """A session as it is recalled now.

    Attributes:
        texts: of its turns, in the order in which they were said.
        covers: hash of the ids of its turns.
        time: when the last was said.
        stated: levels that the caller has told of, which no job touches.
        made: level -> (number, metadata) of what a job has made.
    """

    name: str
    texts: tuple[str, ...]
    covers: str
    time: int | None
    stated: frozenset[str]
    made: dict[str, tuple[int, dict[str, object]]]


@dataclass(frozen=True)
class NewSummary:
    """What is to be written once the session has not changed meanwhile.

    Attributes:
        items: by level, with the vectors `[passages, D]` of each.
    """

    session: str
    covers: str
    items: dict[str, tuple[Prepared, Vectors]]


def queue_summaries(tx: Transaction, tenant: int, events: Sequence[int]) -> int:
    """A job for each session that these turns belong to, unless one waits already. How many.

    Args:
        events: numbers; those without a session are passed over.
    """
    last: dict[str, int] = {}
    for batch in batches(events):
        rows = tx.rows(
            "SELECT e.session, MAX(e.seq) FROM event e JOIN passage p ON p.event = e.seq "
            "WHERE e.tenant = ? AND e.session <> '' AND e.forgotten_at IS NULL AND p.level IN ('turn', 'chunk') "
            f"AND e.seq IN ({marks(batch)}) GROUP BY e.session ORDER BY 2",
            (tenant, *batch),
        )
        last |= dict(rows)
    count = 0
    for session, event in last.items():
        waiting = tx.rows(
            "SELECT 1 FROM job j JOIN event e ON e.seq = j.event WHERE j.tenant = ? AND j.kind = ? "
            "AND j.state IN ('queued', 'failed') AND e.tenant = ? AND e.session = ? LIMIT 1",
            (tenant, SUMMARISE, tenant, session),
        )
        if not waiting:
            queue_job(tx, tenant, SUMMARISE, event)
            count += 1
    return count


def summaries_about(tx: Transaction, tenant: int, events: Sequence[int]) -> tuple[list[int], list[int]]:
    """What a job made out of these events among others: numbers of the summaries; and of what is left in sessions that
    were summed up, or wait for it by a job that goes with one of the events."""
    gone = set(events)
    made: list[int] = []
    left: list[int] = []
    for session, waits in sorted(_sessions_of(tx, tenant, events).items()):
        rows = tx.rows("SELECT seq, source FROM event WHERE tenant = ? AND session = ?", (tenant, session))
        ours = [seq for seq, source in rows if source == SOURCE and seq not in gone]
        made += ours
        if ours or waits:
            left += [seq for seq, source in rows if source != SOURCE and seq not in gone]
    return made, left


def _sessions_of(tx: Transaction, tenant: int, events: Sequence[int]) -> dict[str, bool]:
    """The sessions of what was said, and whether a job that is about one of these events would sum it up."""
    found: dict[str, bool] = {}
    for batch in batches(events):
        for session, waiting in tx.rows(
            "SELECT e.session, COUNT(j.seq) FROM event e LEFT JOIN job j ON j.event = e.seq AND j.kind = ? "
            "AND j.state IN ('queued', 'failed', 'running') WHERE e.tenant = ? AND e.session <> '' AND e.source <> ? "
            f"AND e.seq IN ({marks(batch)}) GROUP BY e.session",
            (SUMMARISE, tenant, SOURCE, *batch),
        ):
            found[session] = found.get(session, False) or waiting > 0
    return found


def new_summary(found: Told, summariser: Summariser, encoder: Encoder) -> NewSummary | None:
    """None: nothing is to be said, or what was made of the same turns by the same summariser is there."""
    wanted = [level for level in _MADE if level not in found.stated]
    if not found.texts or not wanted:
        return None
    by = summariser.name
    if any((made["by"], made["covers"]) == (by, found.covers) for _, made in found.made.values()):
        return None
    summary = summariser.summarise(found.texts)
    told = {"summary": summary.text, "keyword": "; ".join(summary.keywords)}
    items = {}
    for level in wanted:
        if told[level]:
            about = {"by": by, "covers": found.covers, "turns": len(found.texts)}
            item = prepared(
                Event(told[level], source=SOURCE, session=found.name, time=found.time, level=level, metadata=about)
            )
            vectors = np.asarray(encoder.encode([passage.indexed for passage in item.passages]), np.float32)
            items[level] = (item, vectors)
    return NewSummary(found.name, found.covers, items)


def write_summary(tx: Transaction, tenant: int, encoder: Encoder, new: NewSummary, actor: str) -> None:
    """In the place of the one before. Where the session has changed since it was read, a new job is queued instead."""
    found = read_session(tx, tenant, new.session)
    if found.covers != new.covers:
        rows = tx.rows("SELECT seq FROM event WHERE tenant = ? AND session = ?", (tenant, new.session))
        queue_summaries(tx, tenant, [row[0] for row in rows])
        return
    forget_events(tx, tenant, [seq for seq, _ in found.made.values()], actor)
    number = record_encoder(tx, tenant, encoder)
    for level, (item, vectors) in new.items.items():
        if level in found.stated:
            continue
        there = existing(tx, tenant, item, None)
        if there is None:
            write_event(tx, tenant, number, item, vectors, (), key=None, actor=actor)
        else:  # it said the same once before
            seq, name, _ = there
            tx.run("UPDATE event SET metadata = ? WHERE tenant = ? AND seq = ?", (item.metadata, tenant, seq))
            recall_again(tx, tenant, seq, name, actor)


def read_session(tx: Transaction, tenant: int, name: str) -> Told:
    rows = tx.rows(
        "SELECT e.seq, e.id, e.source, e.occurred_at, e.metadata, p.level, p.text FROM event e "
        "JOIN passage p ON p.event = e.seq WHERE e.tenant = ? AND e.session = ? AND e.forgotten_at IS NULL "
        "ORDER BY COALESCE(e.occurred_at, 0), e.seq, p.ordinal",
        (tenant, name),
    )
    turns = [row for row in rows if row[5] in ("turn", "chunk")]
    ids = dict.fromkeys(row[1] for row in turns)
    return Told(
        name,
        tuple(row[6] for row in turns),
        hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        max((row[3] for row in turns if row[3] is not None), default=None),
        frozenset(row[5] for row in rows if row[5] in _MADE and row[2] != SOURCE),
        {row[5]: (row[0], json.loads(row[4])) for row in rows if row[5] in _MADE and row[2] == SOURCE},
    )
