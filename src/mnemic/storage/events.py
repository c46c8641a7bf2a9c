"""Finding the events that a caller means."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnemic.errors import UsageError, nearest
from mnemic.storage.audit import note
from mnemic.storage.backend import Row, Transaction, batches, marks
from mnemic.storage.conflicts import Conflict, NotFound
from mnemic.storage.phrases import cleaned, normalised
from mnemic.storage.preparing import index_terms, indexed_text
from mnemic.storage.records import StoredEvent
from mnemic.storage.terms import words

__all__ = ["COLUMNS", "annotate_event", "choose_events", "find_events", "get_event", "names_of", "stored_event"]

COLUMNS = "id, content, source, session, actor, title, occurred_at, ingested_at, metadata, forgotten_at, version"


_FIELDS = ("session", "source", "actor", "title")


def get_event(tx: Transaction, tenant: int, name: str) -> StoredEvent | None:
    rows = tx.rows(f"SELECT {COLUMNS} FROM event WHERE tenant = ? AND id = ?", (tenant, name))
    return stored_event(rows[0]) if rows else None


def find_events(tx: Transaction, tenant: int, filter: Mapping[str, str] | None) -> list[StoredEvent]:
    """Those that are recalled and fit, in time, or in the order in which they came where that is not known."""
    numbers = choose_events(tx, tenant, None, filter, everything=True)
    rows: list[Row] = []
    for batch in batches(numbers):
        rows += tx.rows(
            f"SELECT {COLUMNS} FROM event WHERE tenant = ? AND forgotten_at IS NULL AND seq IN ({marks(batch)}) "
            "ORDER BY seq",
            (tenant, *batch),
        )
    return sorted(map(stored_event, rows), key=lambda event: event.time or 0)


def stored_event(row: Row) -> StoredEvent:
    """Of the columns `COLUMNS`."""
    name, text, source, session, actor, title, time, ingested_at, metadata, forgotten_at, version = row
    return StoredEvent(
        name, text, source, session, actor, title, time, ingested_at, json.loads(metadata), forgotten_at, version
    )


def annotate_event(
    tx: Transaction, tenant: int, name: str, metadata: str, expected_version: int | None, actor: str
) -> int:
    """See `MemoryStore.annotate`; `metadata` is JSON."""
    rows = tx.rows("SELECT metadata, version FROM event WHERE tenant = ? AND id = ?", (tenant, name))
    if not rows:
        raise NotFound(f"event '{name:.80}' is not in this store")
    [(old, version)] = rows
    if expected_version is not None and version != expected_version:
        raise Conflict(f"event '{name}' is of version {version}, not {expected_version}: read it again, then change it")
    tx.run("UPDATE event SET metadata = ?, version = version + 1 WHERE tenant = ? AND id = ?", (metadata, tenant, name))
    before, after = (hashlib.sha256(text.encode()).hexdigest() for text in (old, metadata))
    note(tx, tenant, actor, "annotate", name, before=before, after=after)
    return int(version) + 1


def choose_events(
    tx: Transaction,
    tenant: int,
    ids: Sequence[str] | None,
    filter: Mapping[str, str] | None,
    *,
    subject: str | None = None,
    everything: bool = False,
) -> list[int]:
    """The numbers of the events that all of what is given fits.

    Raises:
        NotFound: an id is not there.
        UsageError: nothing is given, or a field is unknown.
    """
    if ids is None and not filter and subject is None and not everything:
        raise UsageError("say which events: ids, a filter such as {'session': …}, a subject, or everything")
    wheres: list[str] = ["tenant = ?"]
    values: list[Any] = [tenant]
    chosen: list[int] | None = None
    if ids is not None:
        if isinstance(ids, str):
            raise UsageError(f"ids is the text '{ids:.80}'; give a list of ids")
        chosen = _by_ids(tx, tenant, ids)
    for field, value in (filter or {}).items():
        if field not in _FIELDS:
            raise UsageError(f"filter: unknown field '{field}'{nearest(str(field), _FIELDS)}")
        wheres.append(f"{field} = ?")
        values.append(value)
    fitting = [row[0] for row in tx.rows(f"SELECT seq FROM event WHERE {' AND '.join(wheres)} ORDER BY seq", values)]
    if subject is not None:
        about = _about(tx, tenant, subject)
        fitting = [seq for seq in fitting if seq in about]
    if chosen is None:
        return fitting
    inside = set(fitting)
    return [seq for seq in chosen if seq in inside]


def _by_ids(tx: Transaction, tenant: int, ids: Sequence[str]) -> list[int]:
    found: dict[str, int] = {}
    for batch in batches(ids):
        rows = tx.rows(f"SELECT id, seq FROM event WHERE tenant = ? AND id IN ({marks(batch)})", (tenant, *batch))
        found.update(dict(rows))
    missing = [name for name in ids if name not in found]
    if missing:
        raise NotFound(f"event '{missing[0]:.80}' is not in this store" + _and_more(len(missing) - 1))
    return sorted(set(found.values()))


def _and_more(count: int) -> str:
    return f", nor are {count} more of those ids" if count else ""


def names_of(subject: str) -> list[str]:
    """As it may stand among the entities."""
    return sorted({cleaned(subject), normalised(subject)})


def _about(tx: Transaction, tenant: int, subject: str) -> set[int]:
    """Events whose text has the name, in any case, that it says, or that state a fact about it."""
    if not any(map(str.isalnum, subject)):
        raise UsageError(f"subject {subject!r:.80} is no name")
    norms = names_of(subject)
    inside = marks(norms)
    found = tx.rows(
        "SELECT p.event FROM mention m JOIN passage p ON p.seq = m.passage JOIN entity n ON n.seq = m.entity "
        f"WHERE m.tenant = ? AND n.norm_name IN ({inside}) UNION "
        "SELECT p.event FROM fact_source x JOIN passage p ON p.seq = x.passage JOIN fact f ON f.seq = x.fact "
        "JOIN entity s ON s.seq = f.subject LEFT JOIN entity o ON o.seq = f.object "
        f"WHERE x.tenant = ? AND (s.norm_name IN ({inside}) OR o.norm_name IN ({inside})) UNION "
        "SELECT seq FROM event WHERE tenant = ? AND LOWER(actor) = LOWER(?)",
        (tenant, *norms, tenant, *norms, *norms, tenant, subject),
    )
    return {row[0] for row in found} | _naming(tx, tenant, subject)


def _naming(tx: Transaction, tenant: int, subject: str) -> set[int]:
    """Events with the words of the name, one after another."""
    asked = list(dict.fromkeys(index_terms(subject)))
    matches = tx.find_words(tenant, asked)
    passages, counts = np.unique(matches[:, 1], return_counts=True)
    name = f" {' '.join(words(subject))} "
    found = set()
    for batch in batches(passages[counts == len(asked)].tolist()):
        for event, title, text in tx.rows(
            "SELECT p.event, e.title, p.text FROM passage p JOIN event e ON e.seq = p.event "
            f"WHERE p.tenant = ? AND p.seq IN ({marks(batch)})",
            (tenant, *batch),
        ):
            if name in f" {' '.join(words(indexed_text(title, text)))} ":
                found.add(event)
    return found
