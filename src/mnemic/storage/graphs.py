"""The graph over a tenant's passages, read from what supports it; the parts of a `View` that hold it.

N passages, E entities, F facts, D the width of a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.backend import Row, Transaction
from mnemic.storage.growing import Growing, Grown
from mnemic.storage.linking import Linked
from mnemic.storage.phrases import cleaned, fact_text
from mnemic.storage.rows import Rows
from mnemic.storage.view import Entity, Fact, Links

__all__ = ["FactParts", "NameGraph", "load_facts"]

Ints = NDArray[np.int64]
_NEW = "FROM passage p JOIN {} m ON m.passage = p.seq WHERE p.tenant = ? AND p.seq > ?"


@dataclass(eq=False)
class NameGraph:
    """The names in a tenant's passages and what stands together, read passage by passage; of passages that are only
    ever added at the end. What was shown of it stays.

    Attributes:
        entities: E of them.
        numbers: `[E]`, their numbers in the database, ascending.
        starts, columns, counts: of the mentions, see `Rows`.
        keys, weights: of the co-occurrences, see `Links`.
        last: the highest number of a passage that was read.
        grown: what recall methods derive from it.
    """

    entities: list[Entity] = field(default_factory=list)
    numbers: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))
    starts: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))
    columns: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))
    counts: Growing[np.float64] = field(default_factory=lambda: Growing(np.float64))
    keys: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    last: int = 0
    grown: Grown = field(default_factory=Grown)

    def __post_init__(self) -> None:
        self.starts.extend(np.zeros(1, np.int64))

    def extend(self, tx: Transaction, tenant: int, seqs: Ints) -> None:
        """Read what names the passages `seqs` `[N]` hold, ascending numbers that begin with those that were read."""
        read = len(self.starts) - 1
        if read == len(seqs):
            return
        self._read_entities(tx, tenant)
        numbers = self.numbers.rows
        mentions = _table(
            tx.rows(f"SELECT m.passage, m.entity, m.count {_NEW.format('mention')}", (tenant, self.last)), 3
        )
        inside, where = _places(seqs, mentions[:, 0])
        _, named = _places(numbers, mentions[inside, 1])
        height, width = len(seqs) - read, len(self.entities)
        rows = Rows.of(where - read, named, mentions[inside, 2].astype(np.float64), (height, width))
        sql = f"SELECT m.passage, m.first, m.second, m.count {_NEW.format('cooccurrence')}"
        pairs = _table(tx.rows(sql, (tenant, self.last)), 4)
        pairs = pairs[_places(seqs, pairs[:, 0])[0]]
        one, other = (_places(numbers, pairs[:, column])[1] for column in (1, 2))
        self._link((one << 32) | other, pairs[:, 3].astype(np.float64))
        self.starts.extend(rows.starts[1:] + len(self.columns))
        self.columns.extend(rows.columns)
        self.counts.extend(rows.values)
        self.last = int(seqs[-1])

    def _read_entities(self, tx: Transaction, tenant: int) -> None:
        last = int(self.numbers.rows[-1]) if len(self.numbers) else 0
        # the sign keeps the database from going through all names of the tenant for the few new ones
        mine = "+tenant = ?" if last else "tenant = ?"
        sql = f"SELECT seq, name, norm_name, type FROM entity WHERE {mine} AND seq > ? ORDER BY seq"
        rows = tx.rows(sql, (tenant, last))
        self.entities += [Entity(*row[1:]) for row in rows]
        self.numbers.extend(np.array([row[0] for row in rows], np.int64))

    def _link(self, keys: Ints, weights: NDArray[np.float64]) -> None:
        once, which = np.unique(keys, return_inverse=True)
        summed = np.bincount(which, weights, minlength=len(once)).astype(np.float64)
        known, places = _places(self.keys, once)
        self.weights = self.weights.copy()
        self.weights[places] += summed[known]
        new = np.searchsorted(self.keys, once[~known])
        self.keys = np.insert(self.keys, new, once[~known])
        self.weights = np.insert(self.weights, new, summed[~known])

    def parts(self) -> dict[str, Any]:
        """The parts of a `View` that hold it."""
        return {
            "entities": tuple(self.entities),
            "mentions": Rows(self.starts.rows, self.columns.rows, self.counts.rows, len(self.entities)),
            "cooccurrences": Links.of_keys(self.keys, self.weights),
            "grown_graph": self.grown,
        }


@dataclass(frozen=True, eq=False)
class FactParts:
    """As in `View`.

    Attributes:
        stated: of each fact its number in the database and the text that is embedded.
    """

    facts: tuple[Fact, ...]
    support: Rows
    synonyms: Links
    entity_vectors: NDArray[np.float32] | None
    stated: tuple[tuple[int, str], ...]


def load_facts(
    tx: Transaction,
    tenant: int,
    seqs: Ints,
    names: NameGraph,
    linked: Linked,
    at: int | None = None,
    known_at: int | None = None,
) -> FactParts:
    """The facts of the passages `seqs` `[N]`, ascending numbers; those of others are left out.

    Args:
        names: of these passages.
        linked: vectors and synonyms of the entities.
        at, known_at: only facts that hold then, as the store knew them then.
    """
    numbers, entities = names.numbers.rows, names.entities
    facts, support, firsts = _facts(tx, tenant, seqs, numbers, entities, at, known_at)
    return FactParts(
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
        if seq in left_out or subject not in place or (object_ is not None and object_ not in place):
            continue  # the last two: it came after the names were read
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
