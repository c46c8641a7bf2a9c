"""Personalised PageRank: the mass of a walk that returns to its seeds, over a weighted undirected graph.

    p = d · W p + (1 - d) · s,    W column-normalised, so that a node passes its mass on in proportion to its edges

n nodes, m edges, d the damping: the probability of following an edge. A node without edges keeps what it gets.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError, nearest
from mnemic.storage.growing import Growing
from mnemic.storage.rows import Rows, spans

__all__ = ["Graph", "PageRank", "personalized_pagerank"]

_SPARSE = 4096  # seeds beyond which the push has no advantage over the power iteration
_TOLERANCE = 1e-6
_PUSH = 3e-7
_MOST_TOUCHED = 20  # of how many nodes one may get new edges before all is laid out anew
_MOST_UNUSED = 2  # times what is in use that may be held


@dataclass(frozen=True, eq=False)
class Graph:
    """Each node's neighbours stand together, ascending; what nodes stand where decides nothing. Never changed: `plus`
    makes another, which shares with it what is the same in both.

    Attributes:
        starts, lengths: `[n]` int64, where the neighbours of each node begin, and how many they are.
        neighbours: at least `[2m]` int64.
        weights: at least `[2m]` float64, of the edges to them.
        degrees: `[n]` float64, sum of the weights at each node.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    neighbours: Growing[np.int64]
    weights: Growing[np.float64]
    degrees: NDArray[np.float64]

    @classmethod
    def of(
        cls, first: NDArray[np.int64], second: NDArray[np.int64], weights: NDArray[np.float64], nodes: int
    ) -> "Graph":
        """From undirected edges `[m]` in any order; parallel ones are added up, loops and zeros dropped.

        Raises:
            UsageError: an end that is no node, or a weight that is negative or no number.
        """
        rows = _both_ways(first, second, weights, nodes)
        neighbours, values = Growing(np.int64), Growing(np.float64)
        neighbours.extend(rows.columns)
        values.extend(rows.values)
        degrees = np.bincount(rows.row_of_entry, rows.values, minlength=nodes).astype(np.float64)
        return cls(rows.starts[:-1], np.diff(rows.starts), neighbours, values, degrees)

    def plus(
        self, first: NDArray[np.int64], second: NDArray[np.int64], weights: NDArray[np.float64], nodes: int
    ) -> "Graph":
        """With more edges `[m]` and nodes; an edge that is there gets heavier. Costs what changes, and n.

        Raises:
            UsageError: as `of`.
        """
        rows = _both_ways(first, second, weights, nodes)
        more = np.zeros(nodes - self.nodes, np.int64)
        starts, lengths = np.concatenate([self.starts, more]), np.concatenate([self.lengths, more])
        touched = np.flatnonzero(np.diff(rows.starts))
        size = int(self.lengths.sum()) + len(rows.columns)
        if _MOST_TOUCHED * len(touched) > nodes or len(self.neighbours) > _MOST_UNUSED * size + 1000:
            places, owner = spans(starts, lengths)
            once = owner < self.neighbours.rows[places]
            places, owner = places[once], owner[once]
            return Graph.of(
                np.concatenate([owner, first]),
                np.concatenate([self.neighbours.rows[places], second]),
                np.concatenate([self.weights.rows[places], weights]),
                nodes,
            )
        degrees = np.concatenate([self.degrees, more.astype(np.float64)])
        for node in touched.tolist():
            there = slice(starts[node], starts[node] + lengths[node])
            columns, values = _merged(self.neighbours.rows[there], self.weights.rows[there], *rows.row(node))
            starts[node], lengths[node], degrees[node] = len(self.neighbours), len(columns), values.sum()
            self.neighbours.extend(columns)  # behind what this graph and others look at
            self.weights.extend(values)
        return Graph(starts, lengths, self.neighbours, self.weights, degrees)

    @property
    def nodes(self) -> int:
        return len(self.degrees)

    @property
    def nbytes(self) -> int:
        arrays = (self.starts, self.lengths, self.neighbours.rows, self.weights.rows, self.degrees)
        return sum(array.nbytes for array in arrays)


def _both_ways(first: NDArray[np.int64], second: NDArray[np.int64], weights: NDArray[np.float64], nodes: int) -> Rows:
    if len(first) and not (min(first.min(), second.min()) >= 0 and max(first.max(), second.max()) < nodes):
        raise UsageError(f"graph: an edge ends at a node that is not among the {nodes}")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise UsageError("graph: weights must be finite and not negative")
    kept = (first != second) & (weights > 0)
    first, second, weights = first[kept], second[kept], weights[kept]
    return Rows.of(
        np.concatenate([first, second]),
        np.concatenate([second, first]),
        np.concatenate([weights, weights]),
        (nodes, nodes),
    )


def _merged(
    columns: NDArray[np.int64], values: NDArray[np.float64], more: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Two rows added up, ascending."""
    places = np.searchsorted(columns, more)
    known = places < len(columns)
    known[known] = columns[places[known]] == more[known]
    values = values.copy()
    values[places[known]] += weights[known]
    return np.insert(columns, places[~known], more[~known]), np.insert(values, places[~known], weights[~known])


@dataclass(frozen=True, eq=False)
class PageRank:
    """Attributes:
    mass: `[n]` float64, sums to 1 less `error`.
    error: by how much all masses together are too small at most.
    steps: rounds of pushing, or iterations.
    """

    mass: NDArray[np.float64]
    error: float
    steps: int


def personalized_pagerank(
    graph: Graph,
    seeds: NDArray[np.float64],
    damping: float = 0.5,
    method: Literal["auto", "push", "power"] = "auto",
    *,
    precision: float | None = None,
) -> PageRank:
    """The stationary mass of every node.

    Args:
        seeds: `[n]`, not negative; they are scaled to sum to 1.
        method: "push" moves mass only where there is some, for few seeds; "power" goes over the whole graph in float32;
            "auto": push up to 4,096 seeds.
        precision: push: mass that a node may keep back, per edge of it (3e-7, divided by the root of the number of
            seeds, small ones counted for less); power: L1 change at which it stops (1e-6).

    Raises:
        UsageError: seeds of another length, negative or all zero; damping not in [0, 1); an unknown method.
    """
    _check(graph, seeds, damping, method)
    start = seeds / seeds.sum()
    if method == "power" or (method == "auto" and np.count_nonzero(start) > _SPARSE):
        return _power(graph, start, damping, precision or _TOLERANCE)
    weighty = 1 / float((start**2).sum())  # as many equal seeds would be as spread out
    return _push(graph, start, damping, (precision or _PUSH) / np.sqrt(weighty))


def _push(graph: Graph, start: NDArray[np.float64], damping: float, least: float) -> PageRank:
    """Forward push, a whole frontier at a time: what a node holds back is pushed on until no node holds much.

    The mass still held, r, obeys mass + PPR(r) = PPR(start). At least (1 - d) r of PPR(r) stays where it is, so that is
    added at the end; PPR keeps sums, so the error is the sum of d r.
    """
    mass, held = np.zeros(graph.nodes), start.copy()
    alone = graph.degrees == 0
    mass[alone], held[alone] = held[alone], 0  # nowhere to go: it all stays
    limits = least * graph.lengths
    neighbours, weights = graph.neighbours.rows, graph.weights.rows
    frontier = np.flatnonzero(held > limits)
    steps = 0
    while len(frontier):
        steps += 1
        moved = held[frontier]
        mass[frontier] += (1 - damping) * moved
        held[frontier] = 0
        places, owner = spans(graph.starts[frontier], graph.lengths[frontier])
        targets = neighbours[places]
        flows = (damping * moved / graph.degrees[frontier])[owner] * weights[places]
        if 8 * len(targets) < graph.nodes:
            np.add.at(held, targets, flows)
            touched = np.unique(targets)
        else:
            held += np.bincount(targets, flows, minlength=graph.nodes)
            touched = np.arange(graph.nodes)
        frontier = touched[held[touched] > limits[touched]]
    return PageRank(mass + (1 - damping) * held, float(damping * held.sum()), steps)


def _power(graph: Graph, start: NDArray[np.float64], damping: float, tolerance: float) -> PageRank:
    """Until the change is small; the error is what a geometric series of such changes may still add."""
    seeds = start.astype(np.float32)
    back = (1 - damping) * seeds
    alone = graph.degrees == 0
    # The graph is undirected: what flows into a node comes over its own edges, and only the share is the neighbour's.
    places, _ = spans(graph.starts, graph.lengths)
    neighbours, weights = graph.neighbours.rows[places], graph.weights.rows[places].astype(np.float32)
    inverse = np.divide(1, graph.degrees, out=np.zeros(graph.nodes), where=~alone).astype(np.float32)
    filled = np.flatnonzero(graph.lengths)
    begins = (np.cumsum(graph.lengths) - graph.lengths)[filled]
    mass = seeds.copy()
    steps, change = 0, np.inf
    while change > tolerance and steps < 1000:
        steps += 1
        inflow = np.zeros(graph.nodes, np.float32)
        if len(filled):
            flows = weights * (mass * inverse)[neighbours]
            inflow[filled] = np.add.reduceat(flows, begins)
        inflow[alone] = mass[alone]
        after = damping * inflow + back
        change = float(np.abs(after - mass).sum(dtype=np.float64))
        mass = after
    return PageRank(mass.astype(np.float64), change * damping / (1 - damping), steps)


def _check(graph: Graph, seeds: NDArray[np.float64], damping: float, method: str) -> None:
    if seeds.shape != (graph.nodes,):
        raise UsageError(f"seeds have shape {seeds.shape}; the graph has {graph.nodes} nodes")
    if not (np.isfinite(seeds).all() and (seeds >= 0).all() and seeds.sum() > 0):
        raise UsageError("seeds must be finite, not negative, and not all zero")
    if not 0 <= damping < 1:
        raise UsageError(f"damping is {damping}; it must be at least 0 and below 1")
    if method not in ("auto", "push", "power"):
        raise UsageError(f"method is '{method}'{nearest(method, ('auto', 'push', 'power'))}")
