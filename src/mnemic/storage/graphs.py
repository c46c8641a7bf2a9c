"""The graph over a tenant's passages, read from what supports it; the parts of a `View` that hold it.

N passages, E entities, F facts, D the width of a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.backend import Row, Transaction
from mnemic.storage.linking import Linked
from mnemic.storage.phrases import cleaned, fact_text
from mnemic.storage.rows import Rows
from mnemic.storage.view import Entity, Fact, Links

__all__ = ["GraphParts", "load_graph"]

Ints = NDArray[np.int64]
_OF_PASSAGES = "FROM passage p JOIN {} ON m.passage = p.seq WHERE p.tenant = ?"


@dataclass(frozen=True, eq=False)
class GraphParts:
    """As in `View`.

    Attributes:
        stated: of each fact its number in the database and the text that is embedded.
    """

    entities: tuple[Entity, ...]
    mentions: Rows
    cooccurrences: Links
    facts: tuple[Fact, ...]
    support: Rows
    synonyms: Links
    entity_vectors: NDArray[np.float32] | None
    stated: tuple[tuple[int, str], ...]


def load_graph(
    tx: Transaction, tenant: int, seqs: Ints, linked: Linked, at: int | None = None, known_at: int | None = None
) -> GraphParts:
    """The graph over the passages `seqs` `[N]`, ascending numbers; rows of others are left out.

    Args:
        linked: vectors and synonyms of the entities.
        at, known_at: only facts that hold then, as the store knew them then.
    """
    rows = tx.rows("SELECT seq, name, norm_name, type FROM entity WHERE tenant = ? ORDER BY seq", (tenant,))
    numbers = np.array([row[0] for row in rows], np.int64)
    entities = tuple(Entity(*row[1:]) for row in rows)
    mentions = _table(tx.rows(f"SELECT m.passage, m.entity, m.count {_OF_PASSAGES.format('mention m')}", (tenant,)), 3)
    inside, where = _places(seqs, mentions[:, 0])
    _, named = _places(numbers, mentions[inside, 1])
    shape = (len(seqs), len(entities))
    facts, support, firsts = _facts(tx, tenant, seqs, numbers, entities, at, known_at)
    return GraphParts(
        entities,
        Rows.of(where, named, mentions[inside, 2].astype(np.float64), shape),
        _together(tx, tenant, seqs, numbers),
        facts,
        support,
        _links(linked, numbers),
        _vectors(linked, numbers),
        tuple(
            (first, fact_text(entities[fact.subject].norm_name, fact.predicate, fact.object_text))
            for first, fact in zip(firsts, facts, strict=True)
        ),
    )


def _table(rows: Sequence[Row], width: int) -> Ints:
    return np.array(rows, np.int64).reshape(-1, width)


def _places(known: Ints, asked: Ints) -> tuple[NDArray[np.bool_], Ints]:
    """Which of the numbers are known, and at which place each of those stands."""
    place = np.searchsorted(known, asked)
    inside = place < len(known)
    inside[inside] = known[place[inside]] == asked[inside]
    return inside, place[inside].astype(np.int64)


def _together(tx: Transaction, tenant: int, seqs: Ints, numbers: Ints) -> Links:
    sql = f"SELECT m.passage, m.first, m.second, m.count {_OF_PASSAGES.format('cooccurrence m')}"
    rows = _table(tx.rows(sql, (tenant,)), 4)
    rows = rows[_places(seqs, rows[:, 0])[0]]
    one, other = (_places(numbers, rows[:, column])[1] for column in (1, 2))
    summed = Rows.of(one, other, rows[:, 3].astype(np.float64), (len(numbers), len(numbers)))
    return Links(summed.row_of_entry, summed.columns, summed.values)


def _facts(
    tx: Transaction,
    tenant: int,
    seqs: Ints,
    numbers: Ints,
    entities: Sequence[Entity],
    at: int | None,
    known_at: int | None,
) -> tuple[tuple[Fact, ...], Rows, tuple[int, ...]]:
    """Facts that say the same, at different times or by different extractors, are one here. Those that only passages
    state which are left out are left out too."""
    sql = "SELECT x.fact, x.passage FROM fact f JOIN fact_source x ON x.fact = f.seq WHERE f.tenant = ?"
    sources = _table(tx.rows(sql, (tenant,)), 2)
    inside, where = _places(seqs, sources[:, 1])
    left_out = set(sources[~inside, 0].tolist()) - set(sources[inside, 0].tolist())
    place = {int(number): index for index, number in enumerate(numbers)}
    found: dict[Fact, tuple[int, int]] = {}  # -> index, number of the first
    index_of: dict[int, int] = {}
    for seq, subject, predicate, object_, text in _live_facts(tx, tenant, at, known_at):
        if seq in left_out:
            continue
        target = -1 if object_ is None else place[object_]
        fact = Fact(place[subject], cleaned(predicate), target, entities[target].norm_name if target >= 0 else text)
        index_of[seq] = found.setdefault(fact, (len(found), seq))[0]
    pairs = {
        (index_of[fact], passage)
        for fact, passage in zip(sources[inside, 0].tolist(), where.tolist(), strict=True)
        if fact in index_of
    }
    table = _table(sorted(pairs), 2)
    shape = (len(found), len(seqs))
    support = Rows.of(table[:, 0], table[:, 1], np.ones(len(table)), shape)
    return tuple(found), support, tuple(seq for _, seq in found.values())


def _live_facts(tx: Transaction, tenant: int, at: int | None, known_at: int | None) -> list[Row]:
    wheres, values = ["tenant = ?"], [tenant]
    if known_at is None:
        wheres.append("retracted_at IS NULL")
    else:
        wheres.append("recorded_at <= ? AND (retracted_at IS NULL OR retracted_at > ?)")
        values += [known_at, known_at]
    if at is not None:
        wheres.append("(valid_from IS NULL OR valid_from <= ?) AND (valid_to IS NULL OR valid_to > ?)")
        values += [at, at]
    return tx.rows(
        f"SELECT seq, subject, predicate, object, object_text FROM fact WHERE {' AND '.join(wheres)} ORDER BY seq",
        values,
    )


def _links(linked: Linked, numbers: Ints) -> Links:
    pairs = linked.pairs
    one, first = _places(numbers, pairs[:, 0])
    other, second = _places(numbers, pairs[:, 1])
    kept = one & other
    return Links(first[kept[one]], second[kept[other]], linked.weights[kept])


def _vectors(linked: Linked, numbers: Ints) -> Any:
    """`[E, D]`; names that only rules found have none, and so resemble nothing."""
    if not len(linked.numbers):
        return None
    vectors = np.zeros((len(numbers), linked.vectors.shape[1]), np.float32)
    inside, place = _places(numbers, linked.numbers)
    vectors[place] = linked.vectors[inside]
    return vectors
