"""MemGAS (arXiv 2505.19549): every session at four granularities, associated across sessions; a query trusts the
granularities by how peaked its similarities are, and a walk spreads from the nearest.

S sessions in time order, 4 levels, D wide. Node 4 s + g is level g of session s.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError, nearest
from mnemic.storage.encoders.pooling import unit
from mnemic.storage.keyphrases import keyphrases
from mnemic.storage.pagerank import Graph, personalized_pagerank
from mnemic.storage.recall.mixture import upper_component
from mnemic.storage.recall.ranking import answers, best_first, ranked
from mnemic.storage.recall.sessions import Sessions, sessions_of
from mnemic.storage.view import Query, Scored, View

__all__ = ["LEVELS", "MemGAS", "Router"]

Router = Literal["inverse-entropy", "one-minus-entropy", "uniform"]
LEVELS = ("session", "turn", "summary", "keyword")
_CENTRAL = 3  # turns that stand for a summary where there is none
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MemGAS:
    """Attributes:
    router: weights of the levels: the paper's "inverse-entropy", the published code's "one-minus-entropy", which
        trusts flat similarities more as soon as there are more than a few sessions, or "uniform".
    temperature: of the softmax that the entropy is taken of.
    seeds: nodes that seed the walk.
    damping: the probability that the walk goes on.
    candidates: nearest earlier nodes that a node may be associated with.
    warmup_sessions: the first sessions associate with none before them.
    level: rank by the cosine of this level alone, without router and walk: what MemGAS is to be better than.
    """

    router: Router = "inverse-entropy"
    temperature: float = 0.2
    seeds: int = 15
    damping: float = 0.1
    candidates: int = 30
    warmup_sessions: int = 5
    level: str | None = None
    name: str = "memgas"

    def __post_init__(self) -> None:
        if self.router not in get_args(Router):
            raise UsageError(f"memgas: router is '{self.router}'{nearest(self.router, get_args(Router))}")
        if self.level is not None and self.level not in LEVELS:
            raise UsageError(f"memgas: level is '{self.level}'{nearest(self.level, LEVELS)}")
        if self.temperature <= 0:
            raise UsageError(f"memgas: temperature is {self.temperature}; it must be above 0")

    def recall(self, view: View, query: Query, k: int) -> list[Scored]:
        """The nearest passage of a session has its session's score, the second half of it, the third a third, …"""
        sessions, levels = sessions_of(view), _levels(view)
        question = view.encoder.encode([query.text])[0]
        close = np.asarray(levels.vectors @ question, np.float64)  # [S, 4]
        weights, mass = self._walked(view, levels, close)
        by_session = np.full(sessions.count, -np.inf)
        by_session[levels.order] = mass.sum(axis=1)
        parts = np.zeros((sessions.count, len(LEVELS)))
        parts[levels.order] = close
        trusted = " ".join(f"{level} {weight:.2f}" for level, weight in zip(LEVELS, weights, strict=True))
        likeness = sessions.unit_likeness(view.similarities(query.text))
        shares = by_session[sessions.session] / _place_in_session(view, sessions, likeness)
        by_level = {level: parts[sessions.session, g] for g, level in enumerate(LEVELS)}
        return ranked(view, shares, k, by_level, (f"levels: {trusted}",))

    def _walked(self, view: View, levels: "_Levels", close: Floats) -> tuple[Floats, Floats]:
        """Weights of the levels `[4]`, and the mass of every node `[S, 4]`."""
        if self.level is not None:
            alone = np.array([level == self.level for level in LEVELS], np.float64)
            return alone, alone * (1 + close)  # a cosine may be negative, a share of one may not
        weights = self._weights(close)
        scores = (weights * close).ravel()
        seeds = np.zeros(scores.size)
        nearest_nodes = best_first(scores, self.seeds)
        seeds[nearest_nodes] = np.maximum(scores[nearest_nodes], 0)
        if seeds.sum() <= 0:
            return weights, np.maximum(scores, 0).reshape(close.shape)
        what = f"memgas {self.candidates} {self.warmup_sessions}"
        graph = view.once(what, lambda _: _associated(levels.vectors, self.candidates, self.warmup_sessions))
        return weights, personalized_pagerank(graph, seeds, self.damping).mass.reshape(close.shape)

    def _weights(self, close: Floats) -> Floats:
        """`[4]`, of the levels. An entropy is floored, so that one near 0 cannot take all or turn its sign."""
        if self.router == "uniform" or len(close) < 2:
            return np.full(len(LEVELS), 1 / len(LEVELS))
        scaled = close / self.temperature
        shares = np.exp(scaled - scaled.max(axis=0))
        shares /= shares.sum(axis=0)
        entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=0)
        trust = 1 / np.maximum(entropy, 1e-3) if self.router == "inverse-entropy" else 1 - entropy
        total = trust.sum()
        if abs(total) < 1e-9:
            return np.full(len(LEVELS), 1 / len(LEVELS))
        return np.asarray(trust / total, np.float64)


@dataclass(frozen=True, eq=False)
class _Levels:
    """Attributes:
    order: `[S]`, sessions in time order, those without an answer left out.
    vectors: `[S, 4, D]`.
    """

    order: NDArray[np.int64]
    vectors: NDArray[np.float32]


def _levels(view: View) -> _Levels:
    return view.once("memgas levels", _made_levels)


def _made_levels(view: View) -> _Levels:
    sessions = sessions_of(view)
    members: dict[int, list[int]] = {}
    for index in np.flatnonzero(answers(view)):
        members.setdefault(int(sessions.session[index]), []).append(int(index))
    order = sorted(members, key=lambda s: (min(view.passages[i].time or 0 for i in members[s]), s))
    texts = ["\n".join(view.passages[i].indexed for i in members[s]) for s in order]
    own = {(p.level, sessions.session[i]): i for i, p in enumerate(view.passages) if p.level in ("session", "keyword")}
    phrases = ["; ".join(found) for found in keyphrases(texts)]
    whole, words = view.encoder.encode(texts), view.encoder.encode(phrases)
    vectors = np.zeros((len(order), len(LEVELS), view.encoder.dim), np.float32)
    for place, s in enumerate(order):
        units = sessions.unit_vectors(view, np.array(members[s], np.int64))
        mean = units.mean(axis=0)
        stated, key, told = own.get(("session", s), -1), own.get(("keyword", s), -1), int(sessions.summary[s])
        central = units[np.argsort(-(units @ mean), kind="stable")[:_CENTRAL]].mean(axis=0)
        vectors[place, 0] = view.vectors[stated] if stated >= 0 else whole[place]
        vectors[place, 1] = mean
        vectors[place, 2] = view.vectors[told] if told >= 0 else central
        vectors[place, 3] = view.vectors[key] if key >= 0 else words[place]
    flat = unit(vectors.reshape(-1, view.encoder.dim))
    return _Levels(np.array(order, np.int64), flat.reshape(vectors.shape))


def _associated(vectors: NDArray[np.float32], candidates: int, warmup: int) -> Graph:
    """Each node is tied to those of its nearest in earlier sessions that a mixture sets apart as near. Nodes of one
    session are not tied."""
    count, levels, dim = vectors.shape
    flat = vectors.reshape(-1, dim)
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for s in range(max(warmup, 1), count):
        close = np.asarray(vectors[s] @ flat[: levels * s].T, np.float64)
        near = np.argsort(-close, axis=1, kind="stable")[:, :candidates]
        accepted = upper_component(np.take_along_axis(close, near, axis=1))
        row, column = np.nonzero(accepted)
        firsts.append(levels * s + row)
        seconds.append(near[row, column])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    return Graph.of(first, second, np.ones(len(first)), count * levels)


def _place_in_session(view: View, sessions: Sessions, likeness: Floats) -> NDArray[np.int64]:
    """`[N]`: 1 for the nearest answer of a session, 2 for the next, …"""
    able = np.flatnonzero(answers(view))
    of = sessions.session[able]
    order = np.lexsort((able, -likeness[able], of))
    able, of = able[order], of[order]
    place = np.ones(len(view.passages), np.int64)
    place[able] = 1 + np.arange(len(able)) - np.searchsorted(of, of)
    return place
