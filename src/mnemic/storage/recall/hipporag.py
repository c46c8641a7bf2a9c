"""HippoRAG (arXiv 2405.14831): the names of the question are linked to phrases, a walk spreads from them over facts and
synonyms, and a passage scores the mass of the phrases in its facts.

N passages, E entities.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError, nearest
from mnemic.llm import LLMError
from mnemic.storage.names import query_names
from mnemic.storage.pagerank import personalized_pagerank
from mnemic.storage.phrases import cleaned
from mnemic.storage.recall.phrase_graph import PhraseGraph, phrase_graph, phrase_vectors
from mnemic.storage.recall.ranking import minmax, ranked
from mnemic.storage.view import Query, Scored, View

__all__ = ["HippoRAG"]

Ensemble = Literal["off", "always", "auto"]


@dataclass(frozen=True)
class _Link:
    asked: str
    entity: int
    cosine: float


@dataclass(frozen=True)
class HippoRAG:
    """Attributes:
    damping: the probability that the walk goes on.
    node_specificity: a phrase seeds 1 / the passages it stands in, instead of 1.
    ensemble: add the cosine of the passage: "always", or where a link is less sure than `recognition` ("auto").
    recognition: the cosine of name and phrase from which a link is sure.
    min_link_similarity: links below this cosine are dropped.
    synonym_overwrites: as published, a synonym edge takes the place of a fact's; else they add up.
    recognise: finds the names of a question: rules, or `llm_extraction.LLMNames(client)`.
    """

    damping: float = 0.5
    node_specificity: bool = True
    ensemble: Ensemble = "off"
    recognition: float = 0.9
    min_link_similarity: float | None = None
    synonym_overwrites: bool = False
    recognise: Callable[[str], Sequence[str]] = query_names
    name: str = "hipporag"

    def __post_init__(self) -> None:
        if self.ensemble not in get_args(Ensemble):
            raise UsageError(f"hipporag: ensemble is '{self.ensemble}'{nearest(self.ensemble, get_args(Ensemble))}")

    def recall(self, view: View, query: Query, k: int) -> list[Scored]:
        dense = view.similarities(query.text)
        graph = phrase_graph(view, synonym_overwrites=self.synonym_overwrites)
        try:
            links = self._links(view, graph, query.text)
            reason = "fallback: dense, as the question names nothing that is known"
        except LLMError as failed:
            links, reason = [], f"fallback: dense, as the names of the question could not be had: {failed}"
        if not links:
            return ranked(view, dense, k, {"dense": dense}, (reason,))
        seeds = np.zeros(len(view.entities))
        for link in links:  # two names of one phrase set its seed once
            seeds[link.entity] = 1 / max(graph.passages_of[link.entity], 1) if self.node_specificity else 1.0
        mass = personalized_pagerank(graph.graph, seeds, self.damping).mass
        walked = minmax(graph.counts.times(mass))
        path = tuple(f"{link.asked} → {view.entities[link.entity].name} ({link.cosine:.2f})" for link in links)
        scores, blended = self._blended(walked, dense, links)
        return ranked(view, scores, k, {"graph": walked, "dense": dense}, (*path, *blended))

    def _links(self, view: View, graph: PhraseGraph, question: str) -> list[_Link]:
        """The nearest phrase of each name of the question."""
        asked = list(dict.fromkeys(filter(None, map(cleaned, self.recognise(question)))))
        if not asked or not len(graph.phrases):
            return []
        close = view.encoder.encode(asked) @ phrase_vectors(view)[graph.phrases].T
        best = close.argmax(axis=1)
        found = [
            _Link(name, int(graph.phrases[at]), float(close[i, at]))
            for i, (name, at) in enumerate(zip(asked, best, strict=True))
        ]
        least = self.min_link_similarity
        return [link for link in found if least is None or link.cosine >= least]

    def _blended(
        self, walked: NDArray[np.float64], dense: NDArray[np.float64], links: list[_Link]
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        sure = min(link.cosine for link in links) > self.recognition
        if self.ensemble == "off" or (self.ensemble == "auto" and sure):
            return walked, ()
        return 0.5 * walked + 0.5 * minmax(dense), ("half of the score is the cosine of the passage",)
