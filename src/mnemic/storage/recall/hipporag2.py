"""HippoRAG 2 (arXiv 2502.14802): the question is matched against facts, a filter keeps those that bear on it, and a
walk over phrases and passages starts from their phrases and, a little, from passages that resemble the question.

N passages, E entities, F facts. Nodes are passages, then entities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.llm import LLMError
from mnemic.storage.pagerank import Graph, personalized_pagerank
from mnemic.storage.phrases import fact_text
from mnemic.storage.recall.fact_filters import FactFilter, MentionFilter, Triple
from mnemic.storage.recall.phrase_graph import fact_edges, phrase_graph
from mnemic.storage.recall.ranking import best_first, minmax, ranked
from mnemic.storage.view import Query, Scored, View

__all__ = ["HippoRAG2", "triple_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HippoRAG2:
    """Attributes:
    filter: which of the nearest facts are kept: `MentionFilter()`, `LLMFilter(client)`, or by name "mention", "none".
    fact_top_k: facts that are shown to the filter.
    seed_top_k: phrases that seed the walk.
    passage_weight: mass of the passage most like the question.
    passage_seeds: how many passages may be seeds; None: all, as published.
    damping: the probability that the walk goes on.
    """

    filter: FactFilter | str = "mention"
    fact_top_k: int = 5
    seed_top_k: int = 5
    passage_weight: float = 0.05
    passage_seeds: int | None = 300
    damping: float = 0.5
    name: str = "hipporag2"

    def __post_init__(self) -> None:
        if isinstance(self.filter, str) and self.filter not in ("mention", "none"):
            raise UsageError(f"hipporag2: filter is '{self.filter}'; must be mention, none, or an LLMFilter")

    def recall(self, view: View, query: Query, k: int) -> list[Scored]:
        dense = view.similarities(query.text)
        if not view.facts:
            return ranked(view, dense, k, {"dense": dense}, ("fallback: dense, as no facts are stored",))
        likeness = minmax(np.asarray(_fact_vectors(view) @ view.encoder.encode([query.text])[0], np.float64))
        nearest = best_first(likeness, self.fact_top_k)
        triples = [triple_of(view, index) for index in nearest]
        try:
            kept = self._kept(query.text, triples)
        except LLMError as failed:
            return ranked(view, dense, k, {"dense": dense}, (f"fallback: dense, as the fact filter failed: {failed}",))
        if not kept:
            reason = f"fallback: dense, as none of the {len(nearest)} nearest facts bears on the question"
            return ranked(view, dense, k, {"dense": dense}, (reason,))
        seeds = np.zeros(len(view.passages) + len(view.entities))
        phrases = self._phrase_seeds(view, likeness, nearest[kept])
        for entity, weight in phrases.items():
            seeds[len(view.passages) + entity] = weight
        chosen = best_first(dense, len(dense) if self.passage_seeds is None else self.passage_seeds)
        seeds[chosen] = self.passage_weight * minmax(dense)[chosen]
        mass = personalized_pagerank(view.once("hipporag2", _graph), seeds, self.damping).mass[: len(view.passages)]
        path = (
            *(f"fact: {' | '.join(triples[at])} ({likeness[nearest[at]]:.2f})" for at in kept),
            f"seeds: {', '.join(view.entities[entity].name for entity in phrases)}",
        )
        return ranked(view, mass, k, {"graph": mass, "dense": dense}, path)

    def _kept(self, question: str, triples: Sequence[Triple]) -> list[int]:
        if self.filter == "none":
            return list(range(len(triples)))
        chosen = MentionFilter() if isinstance(self.filter, str) else self.filter
        return chosen.kept(question, triples)

    def _phrase_seeds(self, view: View, likeness: Floats, facts: NDArray[np.int64]) -> dict[int, float]:
        """Entity -> weight: the mean over its facts of likeness / passages that hold the entity; the heaviest few."""
        passages_of = phrase_graph(view).passages_of
        given: dict[int, list[float]] = {}
        for index in facts:
            fact = view.facts[index]
            for entity in {fact.subject, fact.object} - {-1}:
                given.setdefault(entity, []).append(float(likeness[index]) / max(int(passages_of[entity]), 1))
        weights = {entity: sum(parts) / len(parts) for entity, parts in given.items()}
        heaviest = sorted(weights, key=lambda entity: (-weights[entity], entity))[: self.seed_top_k]
        return {entity: weights[entity] for entity in heaviest if weights[entity] > 0}


def triple_of(view: View, index: int) -> Triple:
    """A fact as filters see it."""
    fact = view.facts[index]
    return view.entities[fact.subject].norm_name, fact.predicate, fact.object_text


def _fact_vectors(view: View) -> NDArray[np.float32]:
    if view.fact_vectors is not None:
        return view.fact_vectors
    made = "fact vectors"
    return view.once(
        made, lambda view: view.encoder.encode([fact_text(*triple_of(view, i)) for i in range(len(view.facts))])
    )


def _graph(view: View) -> Graph:
    """Facts weigh 2 per statement and synonyms 2 x cosine, because the published graph has both directions as parallel
    undirected edges; a passage's tie to each entity of its facts weighs 1."""
    passages = len(view.passages)
    ties, facts, synonyms = phrase_graph(view).counts, fact_edges(view), view.synonyms
    return Graph.of(
        np.concatenate([ties.row_of_entry, passages + facts.first, passages + synonyms.first]),
        np.concatenate([passages + ties.columns, passages + facts.second, passages + synonyms.second]),
        np.concatenate([np.ones(len(ties.columns)), 2 * facts.weights, 2 * synonyms.weights]),
        passages + len(view.entities),
    )
