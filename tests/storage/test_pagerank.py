"""Personalised PageRank against a dense solve and igraph's; the error that push reports is the error it makes."""

import igraph
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.storage import pagerank
from mnemic.storage.pagerank import Graph, personalized_pagerank


def solved(first, second, weights, nodes, seeds, damping):
    """p = (1-d) (I - d W)^-1 s, densely."""
    table = np.zeros((nodes, nodes))
    for i, j, weight in zip(first, second, weights, strict=True):
        if i != j:
            table[i, j] += weight
            table[j, i] += weight
    degrees = table.sum(axis=0)
    step = np.where(degrees > 0, table / np.where(degrees > 0, degrees, 1), np.eye(nodes))
    return np.linalg.solve(np.eye(nodes) - damping * step, (1 - damping) * seeds / seeds.sum())


@st.composite
def problems(draw):
    nodes = draw(st.integers(1, 12))
    ends = st.integers(0, nodes - 1)
    edges = draw(st.lists(st.tuples(ends, ends, st.floats(0.01, 5)), max_size=30))
    first, second, weights = (np.array(part) for part in zip(*edges, strict=True)) if edges else ([], [], [])
    seeds = np.array(draw(st.lists(st.just(0.0) | st.floats(0.01, 1), min_size=nodes, max_size=nodes)))
    seeds[draw(ends)] = 1
    edges = (np.array(first, np.int64), np.array(second, np.int64), np.array(weights, np.float64))
    return *edges, nodes, seeds, draw(st.sampled_from([0.0, 0.1, 0.5, 0.9]))


@settings(max_examples=150, deadline=None)
@given(problems())
def test_both_methods_solve_the_equation(problem):
    first, second, weights, nodes, seeds, damping = problem
    expected = solved(*problem)
    graph = Graph.of(first, second, weights, nodes)
    power = personalized_pagerank(graph, seeds, damping, "power")
    np.testing.assert_allclose(power.mass, expected, atol=2e-5)
    push = personalized_pagerank(graph, seeds, damping, "push", precision=1e-4)
    assert push.mass.sum() + push.error == pytest.approx(1, abs=1e-9)
    assert (push.mass <= expected + 1e-12).all()
    assert np.abs(push.mass - expected).sum() == pytest.approx(push.error, abs=1e-9)
    fine = personalized_pagerank(graph, seeds, damping, "push", precision=1e-12)
    np.testing.assert_allclose(fine.mass, expected, atol=1e-9)


def test_it_is_igraphs():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 400, (2, 1500))
    weights = random.random(1500) + 0.1
    seeds = np.zeros(400)
    seeds[random.choice(400, 7)] = random.random(7)
    graph = Graph.of(first, second, weights, 400)
    kept = first != second
    peer = igraph.Graph(400, list(zip(first[kept], second[kept], strict=True)))
    for damping in (0.1, 0.5, 0.85):
        expected = peer.personalized_pagerank(
            damping=damping, reset=list(seeds), weights=list(weights[kept]), directed=False
        )
        connected = graph.degrees > 0  # igraph sends the mass of the others back to the seeds
        for method in ("push", "power"):
            found = personalized_pagerank(graph, seeds, damping, method, precision=1e-8).mass
            if seeds[~connected].sum() == 0:
                np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_order_of_the_edges_does_not_matter():
    random = np.random.default_rng(1)
    first, second, weights = random.integers(0, 50, 400), random.integers(0, 50, 400), random.random(400)
    graph = Graph.of(first, second, weights, 50)
    order = random.permutation(400)
    again = Graph.of(second[order], first[order], weights[order], 50)
    assert_same(graph, again)


def test_a_large_graph_by_push_has_the_same_top():
    random = np.random.default_rng(2)
    nodes, edges = 20_000, 100_000
    first = (nodes * random.random(edges) ** 3).astype(np.int64)
    graph = Graph.of(first, random.integers(0, nodes, edges), random.random(edges), nodes)
    seeds = np.zeros(nodes)
    seeds[random.choice(nodes, 10)] = 1
    exact = personalized_pagerank(graph, seeds, 0.5, "power", precision=1e-7).mass
    pushed = personalized_pagerank(graph, seeds, 0.5, "push")
    assert pushed.error < 0.05
    assert len(set(np.argsort(-exact)[:100]) & set(np.argsort(-pushed.mass)[:100])) >= 98


def test_many_seeds_go_by_power():
    nodes = 5000
    line = np.arange(nodes - 1)
    graph = Graph.of(line, line + 1, np.ones(nodes - 1), nodes)
    auto = personalized_pagerank(graph, np.ones(nodes))
    assert (auto.mass == personalized_pagerank(graph, np.ones(nodes), method="power").mass).all()
    assert graph.nbytes == 8 * (3 * nodes + 4 * (nodes - 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": np.ones(2)}, r"seeds have shape \(2,\); the graph has 3 nodes"),
        ({"seeds": np.zeros(3)}, "not all zero"),
        ({"seeds": np.array([1, -1, 1.0])}, "not negative"),
        ({"seeds": np.array([1, np.nan, 1.0])}, "finite"),
        ({"damping": 1.0}, "damping is 1.0; it must be at least 0 and below 1"),
        ({"method": "pull"}, "method is 'pull'; did you mean 'push'"),
    ],
)
def test_wrong_use(change, message):
    graph = Graph.of(np.array([0]), np.array([1]), np.ones(1), 3)
    with pytest.raises(UsageError, match=message):
        personalized_pagerank(**{"graph": graph, "seeds": np.ones(3), **change})


def test_wrong_graphs():
    with pytest.raises(UsageError, match="not among the 2"):
        Graph.of(np.array([0]), np.array([2]), np.ones(1), 2)
    with pytest.raises(UsageError, match="finite and not negative"):
        Graph.of(np.array([0]), np.array([1]), -np.ones(1), 2)


def assert_same(one: Graph, other: Graph) -> None:
    """Node for node, wherever the neighbours lie."""
    np.testing.assert_array_equal(one.lengths, other.lengths)
    np.testing.assert_allclose(one.degrees, other.degrees, rtol=1e-12)
    for node in range(one.nodes):
        rows = [slice(g.starts[node], g.starts[node] + g.lengths[node]) for g in (one, other)]
        np.testing.assert_array_equal(one.neighbours.rows[rows[0]], other.neighbours.rows[rows[1]])
        np.testing.assert_allclose(one.weights.rows[rows[0]], other.weights.rows[rows[1]], rtol=1e-12)


@settings(max_examples=80, deadline=None)
@given(st.lists(problems(), min_size=1, max_size=6), st.sampled_from([0, 20]))
def test_a_graph_that_grew_is_the_one_that_was_made_at_once(parts, most_touched):
    """With 0 every step is done row by row, as in a large graph."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pagerank, "_MOST_TOUCHED", most_touched)
        nodes, graph, seen = 0, Graph.of(*(np.zeros(0, kind) for kind in (np.int64, np.int64, float)), 0), []
        for first, second, weights, more, *_ in parts:
            nodes = max(nodes, more)
            seen.append((graph, [array.copy() for array in (graph.starts, graph.neighbours.rows, graph.weights.rows)]))
            graph = graph.plus(first, second, weights, nodes)
        whole = Graph.of(*(np.concatenate([part[i] for part in parts]) for i in range(3)), nodes)
        assert_same(graph, whole)
        for old, (starts, neighbours, weights) in seen:
            np.testing.assert_array_equal(old.starts, starts)
            np.testing.assert_array_equal(old.neighbours.rows[: len(neighbours)], neighbours)
            np.testing.assert_array_equal(old.weights.rows[: len(weights)], weights)
        seeds = np.arange(nodes) + 1.0
        for method in ("push", "power"):
            np.testing.assert_allclose(
                personalized_pagerank(graph, seeds, 0.5, method).mass,
                personalized_pagerank(whole, seeds, 0.5, method).mass,
                atol=1e-6,
            )
        assert len(graph.neighbours) <= 3 * int(graph.lengths.sum()) + 2000
