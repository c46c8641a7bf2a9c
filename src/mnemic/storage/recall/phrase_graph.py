"""Phrases as a graph: what HippoRAG walks on, made from facts, or from what the rules found where there are none.

N passages, E entities, F facts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.growing import Growing
from mnemic.storage.pagerank import Graph
from mnemic.storage.rows import Rows, segments
from mnemic.storage.view import Links, View

__all__ = ["PhraseGraph", "fact_edges", "phrase_graph", "phrase_vectors"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PhraseGraph:
    """Attributes:
    phrases: `[P]`, the entities that take part.
    graph: over all E entities.
    counts: N x E, how many facts of a passage hold the entity; how often it names it where there are no facts.
    passages_of: `[E]`, in how many passages each entity stands.
    """

    phrases: Ints
    graph: Graph
    counts: Rows
    passages_of: NDArray[np.int64]


def phrase_graph(view: View, *, synonym_overwrites: bool = False) -> PhraseGraph:
    """Args:
    synonym_overwrites: two phrases that are synonyms lose the weight of their facts, as published.
    """
    return view.once(f"phrase graph {synonym_overwrites}", lambda view: _made(view, synonym_overwrites))


def phrase_vectors(view: View) -> NDArray[np.float32]:
    """`[E, D]`, of the entities' names."""
    if view.entity_vectors is not None:
        return view.entity_vectors
    return view.extended_graph("entity vectors", _encoded).rows[: len(view.entities)]


def _encoded(view: View, before: Growing[np.float32] | None, first: int) -> Growing[np.float32]:
    vectors = Growing(np.float32, (view.encoder.dim,)) if before is None else before
    new = view.entities[len(vectors) :]
    if new:
        vectors.extend(view.encoder.encode([entity.norm_name for entity in new]))
    return vectors


def fact_edges(view: View) -> Links:
    """Between the subject and the object of facts; weight = in how many passages one of them is stated."""
    ends = [
        (min(fact.subject, fact.object), max(fact.subject, fact.object), index)
        for index, fact in enumerate(view.facts)
        if fact.object >= 0 and fact.object != fact.subject
    ]
    table = np.array(ends, np.int64).reshape(-1, 3)
    stated = np.diff(view.support.starts) if view.support is not None else np.zeros(len(view.facts), np.int64)
    size = len(view.entities)
    summed = Rows.of(table[:, 0], table[:, 1], stated[table[:, 2]].astype(np.float64), (size, size))
    return Links(summed.row_of_entry, summed.columns, summed.values)


def _made(view: View, synonym_overwrites: bool) -> PhraseGraph:
    size = len(view.entities)
    if view.facts:
        edges, counts = fact_edges(view), _facts_per_passage(view)
    else:
        edges = view.cooccurrences
        counts = view.mentions if view.mentions is not None else Rows.empty(len(view.passages), size)
    if synonym_overwrites:
        synonyms = view.synonyms.first * size + view.synonyms.second
        kept = ~np.isin(edges.first * size + edges.second, synonyms)
        edges = Links(edges.first[kept], edges.second[kept], edges.weights[kept])
    graph = Graph.of(
        np.concatenate([edges.first, view.synonyms.first]),
        np.concatenate([edges.second, view.synonyms.second]),
        np.concatenate([edges.weights, view.synonyms.weights]),
        size,
    )
    passages_of = np.bincount(counts.columns, minlength=size)
    return PhraseGraph(np.flatnonzero(passages_of), graph, counts, passages_of)


def _facts_per_passage(view: View) -> Rows:
    """N x E: the number of a passage's facts that hold an entity; a fact about itself counts once."""
    assert view.support is not None
    pairs = {
        (index, entity)
        for index, fact in enumerate(view.facts)
        for entity in (fact.subject, fact.object)
        if entity >= 0
    }
    table = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    places, owner = segments(view.support.starts, table[:, 0])
    passages, entities = view.support.columns[places], table[:, 1][owner]
    return Rows.of(passages, entities, np.ones(len(passages)), (len(view.passages), len(view.entities)))
