"""Vectors of the phrases that facts are about, and which of them mean the same: kept in the store, made when the graph
is first asked for after new phrases came. A new phrase is compared with all, an old pair never again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.backend import Backend, Transaction, batches, marks
from mnemic.storage.encoder import Encoder
from mnemic.storage.synonyms import synonym_links
from mnemic.storage.writing import write_vectors

__all__ = ["Linked", "SYNONYM", "fact_vectors", "link"]

SYNONYM = 0.8  # cosine from which two phrases mean the same, as HippoRAG has it


@dataclass(frozen=True, eq=False)
class Linked:
    """P phrases.

    Attributes:
        numbers: `[P]`, of the entities, ascending.
        vectors: `[P, D]`.
        pairs: `[L, 2]`, numbers of entities that mean the same, the lower first.
        weights: `[L]`, their cosines.
    """

    numbers: NDArray[np.int64]
    vectors: NDArray[np.float32]
    pairs: NDArray[np.int64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class _Phrases:
    encoder: int
    linked: int
    names: dict[int, str]
    vectors: dict[int, bytes]
    synonyms: list[tuple[int, int, float]]


def link(backend: Backend, tenant: int, encoder: Encoder) -> Linked:
    """All phrases with their synonyms; what is new is written to the store, where it may be written."""
    known = backend.read(lambda tx: _phrases(tx, tenant), tenant)
    numbers = sorted(known.names)
    missing = [number for number in numbers if number not in known.vectors]
    made = encoder.encode([known.names[number] for number in missing]) if missing else np.zeros((0, encoder.dim))
    fresh = dict(zip(missing, np.asarray(made, "<f4"), strict=True))
    vectors = np.array(
        [fresh[n] if n in fresh else np.frombuffer(known.vectors[n], "<f4") for n in numbers], np.float32
    ).reshape(-1, encoder.dim)
    order = np.array(numbers, np.int64)
    new_from = int(np.searchsorted(order, known.linked, side="right"))
    pairs = known.synonyms
    if new_from < len(numbers):
        links = synonym_links([known.names[n] for n in numbers], vectors, SYNONYM, most=None, new_from=new_from)
        found = zip(order[links.first].tolist(), order[links.second].tolist(), links.weights.tolist(), strict=True)
        new = list(found)
        if not backend.read_only:
            backend.write(lambda tx: _keep(tx, tenant, known, fresh, new, numbers[-1]), tenant)
        pairs = pairs + new
    return Linked(
        order,
        vectors,
        np.array([pair[:2] for pair in pairs], np.int64).reshape(-1, 2),
        np.array([pair[2] for pair in pairs], np.float64),
    )


def _phrases(tx: Transaction, tenant: int) -> _Phrases:
    [(encoder, linked)] = tx.rows("SELECT encoder, linked FROM tenant WHERE seq = ?", (tenant,))
    names = tx.rows("SELECT seq, norm_name FROM entity WHERE tenant = ? AND type <> 'span'", (tenant,))
    vectors = tx.rows(
        "SELECT owner, data FROM vector WHERE tenant = ? AND kind = 'entity' AND encoder = ?", (tenant, encoder)
    )
    synonyms = tx.rows("SELECT first, second, weight FROM synonym WHERE tenant = ? ORDER BY first, second", (tenant,))
    return _Phrases(encoder or 0, linked, dict(names), dict(vectors), [(a, b, w) for a, b, w in synonyms])


def _keep(
    tx: Transaction,
    tenant: int,
    known: _Phrases,
    fresh: dict[int, NDArray[np.float32]],
    pairs: list[tuple[int, int, float]],
    last: int,
) -> None:
    """Unless another was faster. Entities may have gone in between."""
    moved = tx.run(
        "UPDATE tenant SET linked = ? WHERE seq = ? AND linked = ? AND encoder = ?",
        (last, tenant, known.linked, known.encoder),
    )
    if not moved:
        return
    there = {row[0] for row in tx.rows("SELECT seq FROM entity WHERE tenant = ?", (tenant,))}
    kept = [number for number in fresh if number in there]
    if kept:
        write_vectors(tx, tenant, known.encoder, "entity", kept, np.array([fresh[number] for number in kept]))
    tx.many(
        "INSERT INTO synonym (tenant, first, second, weight) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(tenant, *pair) for pair in pairs if pair[0] in there and pair[1] in there],
    )


def fact_vectors(
    backend: Backend, tenant: int, encoder: Encoder, facts: Sequence[tuple[int, str]]
) -> NDArray[np.float32]:
    """`[F, D]`: vectors of facts, given as (number, text); those that are missing are made and kept."""

    def known(tx: Transaction) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for batch in batches([number for number, _ in facts]):
            found |= dict(
                tx.rows(
                    "SELECT v.owner, v.data FROM vector v JOIN encoder e ON e.seq = v.encoder WHERE v.tenant = ? "
                    f"AND v.kind = 'fact' AND e.name = ? AND e.revision = ? AND v.owner IN ({marks(batch)})",
                    (tenant, encoder.name, encoder.revision, *batch),
                )
            )
        return found

    there = backend.read(known, tenant)
    missing = [(number, text) for number, text in facts if number not in there]
    fresh: dict[int, NDArray[np.float32]] = {}
    if missing:
        made = encoder.encode([text for _, text in missing])
        fresh = {number: vector for (number, _), vector in zip(missing, made, strict=True)}
        if not backend.read_only:
            backend.write(lambda tx: _keep_facts(tx, tenant, encoder, fresh), tenant)
    return np.array([fresh[n] if n in fresh else np.frombuffer(there[n], "<f4") for n, _ in facts], np.float32).reshape(
        -1, encoder.dim
    )


def _keep_facts(tx: Transaction, tenant: int, encoder: Encoder, fresh: dict[int, NDArray[np.float32]]) -> None:
    numbers = tx.rows(
        "SELECT e.seq FROM encoder e JOIN tenant t ON t.encoder = e.seq "
        "WHERE t.seq = ? AND e.name = ? AND e.revision = ?",
        (tenant, encoder.name, encoder.revision),
    )
    there = {row[0] for row in tx.rows("SELECT seq FROM fact WHERE tenant = ?", (tenant,))}
    kept = [number for number in fresh if number in there]
    if numbers and kept:
        write_vectors(tx, tenant, numbers[0][0], "fact", kept, np.array([fresh[number] for number in kept]))
