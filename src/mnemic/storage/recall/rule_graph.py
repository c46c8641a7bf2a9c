"""Recall over a graph that rules alone have made: no language model, no triples.

Passages and names are nodes. A passage is tied to each name in it, and names to those that share a sentence with them.
A walk starts from the names of the question and, a little, from passages that resemble it, and returns to them; a
passage's score is the share of time the walk spends there. The shape is HippoRAG 2's (arXiv 2502.14802), with
co-occurrence in the place of facts.

N passages, E entities.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.names import is_name, query_names
from mnemic.storage.pagerank import Graph, personalized_pagerank
from mnemic.storage.phrases import normalised
from mnemic.storage.recall.ranking import best_first, minmax, ranked, standardised
from mnemic.storage.view import Query, Scored, View

__all__ = ["RuleGraph"]

_COOCCURRENCE = 2.0  # weight of one shared sentence; a passage's tie to a name weighs 1
_MOST_WORDS = 12  # of a name


@dataclass(frozen=True)
class RuleGraph:
    """Attributes:
    damping: the probability that the walk goes on.
    passage_weight: mass of the passage most like the question, where the rarest name of the question has 1.
    passage_seeds: how many passages may be seeds.
    fallback_keywords: weight of z(BM25) beside z(cosine) where no name of the question is known.
    """

    damping: float = 0.5
    passage_weight: float = 0.003
    passage_seeds: int = 300
    fallback_keywords: float = 0.5
    name: str = "rule-graph"

    def recall(self, view: View, query: Query, k: int) -> list[Scored]:
        similarity = view.similarities(query.text)
        linked = _linked(view, query.text)
        if not linked:
            words = view.keyword_scores(query.text)
            scores = standardised(similarity) + self.fallback_keywords * standardised(words)
            reason = "fallback: vectors and words, as no name of the question is known"
            return ranked(view, scores, k, {"dense": similarity, "keyword": words}, (reason,))
        network = view.once("rule-graph", _network)
        seeds = np.zeros(network.graph.nodes)
        places = np.array(list(linked.values()))
        rarity = 1 / np.maximum(network.passages_of[places], 1)
        seeds[len(view.passages) + places] = rarity / rarity.max()
        nearest = best_first(similarity, self.passage_seeds)
        seeds[nearest] = self.passage_weight * minmax(similarity)[nearest]
        mass = personalized_pagerank(network.graph, seeds, self.damping).mass[: len(view.passages)]
        path = (f"names of the question: {', '.join(linked)}",)
        return ranked(view, mass, k, {"graph": mass, "dense": similarity}, path)


def _linked(view: View, question: str) -> dict[str, int]:
    """Names of the question that stand in passages -> entity. Of a name that does not, its longest parts that do; and
    titles, which a question may also spell without capitals."""
    known = view.once("rule-graph names", _by_name)
    found: dict[str, int] = {}
    _link(normalised(question).split(), view.once("rule-graph titles", _by_title), found)
    for name in query_names(question):
        _link(normalised(name).split(), known, found)
    return found


def _link(words: list[str], known: Mapping[str, int], found: dict[str, int]) -> None:
    """Adds the longest name among the words, and then those before and after it."""
    for length in range(min(len(words), _MOST_WORDS), 0, -1):
        for start in range(len(words) - length + 1):
            name = " ".join(words[start : start + length])
            if name in known and is_name(name):
                found[name] = known[name]
                _link(words[:start], known, found)
                _link(words[start + length :], known, found)
                return


@dataclass(frozen=True, eq=False)
class _Network:
    """Attributes:
    graph: N + E nodes.
    passages_of: `[E]`, in how many passages each entity stands.
    """

    graph: Graph
    passages_of: NDArray[np.int64]


def _by_name(view: View) -> dict[str, int]:
    return {entity.norm_name: index for index, entity in enumerate(view.entities) if entity.type == "span"}


def _by_title(view: View) -> dict[str, int]:
    known = view.once("rule-graph names", _by_name)
    titles = {normalised(passage.title) for passage in view.passages if passage.title}
    return {title: known[title] for title in titles if title in known}


def _network(view: View) -> _Network:
    passages, entities = len(view.passages), len(view.entities)
    spans = np.array([entity.type == "span" for entity in view.entities], bool)
    rows, columns = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if view.mentions is not None:
        by_rules = spans[view.mentions.columns]
        rows, columns = view.mentions.row_of_entry[by_rules], view.mentions.columns[by_rules]
    links = view.cooccurrences
    graph = Graph.of(
        np.concatenate([rows, passages + links.first]),
        np.concatenate([passages + columns, passages + links.second]),
        np.concatenate([np.ones(len(rows)), _COOCCURRENCE * links.weights]),
        passages + entities,
    )
    return _Network(graph, np.bincount(columns, minlength=entities))
