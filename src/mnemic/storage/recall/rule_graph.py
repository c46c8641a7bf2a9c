"""Recall over a graph that rules alone have made: no language model, no triples.

Passages and names are nodes. A passage is tied to each name in it, and names to those that share a sentence with them.
A walk starts from the names of the question and, a little, from passages that resemble it, and returns to them; a
passage's score is the share of time the walk spends there. The shape is HippoRAG 2's (arXiv 2502.14802), with
co-occurrence in the place of facts.

N passages, E entities.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.names import is_name, query_names
from mnemic.storage.pagerank import Graph, personalized_pagerank
from mnemic.storage.phrases import normalised
from mnemic.storage.recall.ranking import best_first, minmax, ranked, standardised
from mnemic.storage.view import Links, Query, Scored, View

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
        network = view.extended_graph("rule-graph", _network)
        seeds = np.zeros(network.graph.nodes)
        places = np.array(list(linked.values()))
        rarity = 1 / np.maximum(network.passages_of[places], 1)
        seeds[_entity_node(places)] = rarity / rarity.max()
        nearest = best_first(similarity, self.passage_seeds)
        seeds[_passage_node(nearest)] = self.passage_weight * minmax(similarity)[nearest]
        walked = personalized_pagerank(network.graph, seeds, self.damping).mass
        mass = walked[_passage_node(np.arange(len(view.passages)))]
        path = (f"names of the question: {', '.join(linked)}",)
        return ranked(view, mass, k, {"graph": mass, "dense": similarity}, path)


def _linked(view: View, question: str) -> dict[str, int]:
    """Names of the question that stand in passages -> entity. Of a name that does not, its longest parts that do; and
    titles, which a question may also spell without capitals."""
    names = view.extended_graph("rule-graph names", _named)
    found: dict[str, int] = {}
    _link(normalised(question).split(), lambda name: names.titled(view, name), found)
    for name in query_names(question):
        _link(normalised(name).split(), lambda name: names.known(view, name), found)
    return found


def _link(words: list[str], known: Callable[[str], int | None], found: dict[str, int]) -> None:
    """Adds the longest name among the words, and then those before and after it."""
    for length in range(min(len(words), _MOST_WORDS), 0, -1):
        for start in range(len(words) - length + 1):
            name = " ".join(words[start : start + length])
            entity = known(name)
            if entity is not None and is_name(name):
                found[name] = entity
                _link(words[:start], known, found)
                _link(words[start + length :], known, found)
                return


@dataclass(eq=False)
class _Names:
    """Attributes:
    entities: of each name that the rules found.
    titles: the first passage of each title.
    count: entities that were looked at.
    """

    entities: dict[str, int] = field(default_factory=dict)
    titles: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def known(self, view: View, name: str) -> int | None:
        """The entity; None where the view, which may be an old one, has none."""
        entity = self.entities.get(name, len(view.entities))
        return entity if entity < len(view.entities) else None

    def titled(self, view: View, name: str) -> int | None:
        """The entity of a title of a passage."""
        return self.known(view, name) if self.titles.get(name, len(view.passages)) < len(view.passages) else None


def _named(view: View, before: _Names | None, first: int) -> _Names:
    names = before or _Names()
    for index in range(names.count, len(view.entities)):
        if view.entities[index].type == "span":
            names.entities[view.entities[index].norm_name] = index
    names.count = len(view.entities)
    for index in range(first, len(view.passages)):
        if title := view.passages[index].title:
            names.titles.setdefault(normalised(title), index)
    return names


@dataclass(frozen=True, eq=False)
class _Network:
    """Attributes:
    graph: passages are even nodes, entities odd ones, so that either may become more.
    passages_of: `[E]`, in how many passages each entity stands.
    spans: `[E]`, which the rules have found.
    links: of the view.
    """

    graph: Graph
    passages_of: NDArray[np.int64]
    spans: NDArray[np.bool_]
    links: Links


def _passage_node(index: NDArray[np.int64]) -> NDArray[np.int64]:
    return 2 * index


def _entity_node(index: NDArray[np.int64]) -> NDArray[np.int64]:
    return 2 * index + 1


def _network(view: View, before: _Network | None, first: int) -> _Network:
    if before is None:
        nothing = np.zeros(0, np.int64)
        empty = Graph.of(nothing, nothing, np.zeros(0), 0)
        before = _Network(empty, nothing, np.zeros(0, np.bool_), Links.none())
    new = [entity.type == "span" for entity in view.entities[len(before.spans) :]]
    spans = np.concatenate([before.spans, np.array(new, np.bool_)])
    rows, columns = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if view.mentions is not None:
        starts = view.mentions.starts[first:]
        columns = view.mentions.columns[starts[0] :]
        rows = np.repeat(np.arange(first, len(view.passages)), np.diff(starts))
        rows, columns = rows[spans[columns]], columns[spans[columns]]
    links = _heavier(before.links, view.cooccurrences)
    graph = before.graph.plus(
        np.concatenate([_passage_node(rows), _entity_node(links.first)]),
        np.concatenate([_entity_node(columns), _entity_node(links.second)]),
        np.concatenate([np.ones(len(rows)), _COOCCURRENCE * links.weights]),
        2 * max(len(view.passages), len(view.entities)),
    )
    passages_of = np.bincount(columns, minlength=len(view.entities))
    passages_of[: len(before.passages_of)] += before.passages_of
    return _Network(graph, passages_of, spans, view.cooccurrences)


def _heavier(old: Links, new: Links) -> Links:
    """By how much links are heavier than they were, those that are."""
    weights = new.weights.copy()
    weights[np.searchsorted(new.keys, old.keys)] -= old.weights
    changed = np.flatnonzero(weights)
    return Links(new.first[changed], new.second[changed], weights[changed])
