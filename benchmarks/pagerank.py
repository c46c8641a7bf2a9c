"""Personalised PageRank on a heavy-tailed graph of 100,000 nodes and 500,000 edges: ours beside igraph's, in turns.

igraph's is the exact solution (PRPACK); what is compared beside time is how many of the 100 heaviest nodes agree with
it.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import igraph
import numpy as np
from numpy.typing import NDArray

from mnemic.storage.pagerank import Graph, personalized_pagerank

RESULTS = Path(__file__).parent / "results"
NODES, EDGES, SEEDS, DAMPING, TOP, ROUNDS = 100_000, 500_000, 10, 0.5, 100, 5

Masses = NDArray[np.float64]


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    made = call()
    return time.perf_counter() - began, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the results as JSON, nothing else")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/pagerank.json")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    first = (NODES * random.random(EDGES) ** 3).astype(np.int64)
    second, weights = random.integers(0, NODES, EDGES), random.random(EDGES) + 0.01
    kept = first != second
    first, second, weights = first[kept], second[kept], weights[kept]
    build_ours, graph = timed(lambda: Graph.of(first, second, weights, NODES))
    build_peer, peer = timed(
        lambda: igraph.Graph(NODES, np.stack([first, second], axis=1), edge_attrs={"weight": weights})
    )
    arms: dict[str, Callable[[Masses], Masses]] = {
        "push": lambda seeds: personalized_pagerank(graph, seeds, DAMPING, "push").mass,
        "power": lambda seeds: personalized_pagerank(graph, seeds, DAMPING, "power").mass,
        "igraph": lambda seeds: np.array(
            peer.personalized_pagerank(damping=DAMPING, reset=seeds, weights="weight", directed=False)
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    overlap: dict[str, list[int]] = {name: [] for name in arms}
    for _ in range(ROUNDS):
        seeds = np.zeros(NODES)
        seeds[random.choice(np.flatnonzero(graph.degrees), SEEDS, replace=False)] = 1
        tops = {}
        for name, arm in arms.items():
            took, mass = timed(lambda arm=arm, seeds=seeds: arm(seeds))
            seconds[name].append(took)
            tops[name] = set(np.argsort(-mass, kind="stable")[:TOP].tolist())
        for name, top in tops.items():
            overlap[name].append(len(top & tops["igraph"]))
    results = {
        "benchmark": "pagerank",
        "machine": {"platform": platform.platform(), "python": platform.python_version(), "numpy": np.__version__},
        "graph": {"nodes": NODES, "edges": len(first), "seeds": SEEDS, "damping": DAMPING, "bytes": graph.nbytes},
        "build_seconds": {"ours": build_ours, "igraph": build_peer},
        "milliseconds": {name: 1000 * statistics.median(each) for name, each in seconds.items()},
        "top_100_overlap": {name: min(each) for name, each in overlap.items()},
    }
    if options.save:
        (RESULTS / "pagerank.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    if options.json:
        print(json.dumps(results))
        return
    print(f"{NODES:,} nodes, {len(first):,} edges; built in {build_ours:.2f} s, by igraph in {build_peer:.2f} s")
    for name in arms:
        print(f"  {name:8} {results['milliseconds'][name]:8.1f} ms   top {TOP}: at least {min(overlap[name])} agree")


if __name__ == "__main__":
    main()
