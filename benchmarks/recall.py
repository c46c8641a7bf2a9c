"""Every recall method on a folder of passages or a file of conversations whose questions have known evidence.

    python benchmarks/recall.py corpus:DIR --encoder wordllama
    python benchmarks/recall.py conversation:FILE --encoder minilm --cache vectors.db

A corpus with stored triples is asked twice: once as the rules see it, once through the triples.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnemic.intervals import paired_difference
from mnemic.storage.corpora import Corpus, open_conversations, open_corpus
from mnemic.storage.encoder import Encoder
from mnemic.storage.encoders import open_encoder
from mnemic.storage.evaluating import Evaluation, evaluate
from mnemic.storage.recall import open_method
from mnemic.storage.recall.memgas import LEVELS
from mnemic.storage.view import View

PLAIN: list[tuple[str, dict[str, Any]]] = [("bm25", {}), ("dense", {}), ("hybrid", {}), ("auto", {})]
WALKS: list[tuple[str, dict[str, Any]]] = [("rule-graph", {}), ("hipporag", {})]
FACTS: list[tuple[str, dict[str, Any]]] = [
    ("hipporag", {}),
    ("hipporag", {"ensemble": "always"}),
    ("hipporag2", {"filter": "mention"}),
    ("hipporag2", {"filter": "none"}),
]
SPOKEN: list[tuple[str, dict[str, Any]]] = [
    ("best-turn", {}),
    ("memgas", {"router": "inverse-entropy"}),
    ("memgas", {"router": "one-minus-entropy"}),
    ("memgas", {"router": "uniform"}),
    *(("memgas", {"level": level}) for level in LEVELS),
]


def views(kind: str, path: str, encoder: Encoder) -> Iterator[tuple[str, list[tuple[Corpus, View]], Any]]:
    """Name of what the methods are given, the corpora with their views, the methods."""
    if kind == "corpus":
        corpus = open_corpus(path)
        yield "rules", [(corpus, corpus.view(encoder))], PLAIN + WALKS
        if corpus.stored is not None:
            yield "triples", [(corpus, corpus.view(encoder, extraction="stored", synonym_threshold=0.8))], FACTS
        return
    with_summaries = list(open_conversations(path))
    without = [
        Corpus(c.name, tuple(p for p in c.passages if p.level != "summary"), c.questions) for c in with_summaries
    ]
    yield "turns", [(c, c.view(encoder, extraction="none")) for c in without], PLAIN + SPOKEN[:1]
    if any(p.level == "summary" for c in with_summaries for p in c.passages):
        found = [(c, c.view(encoder, extraction="none")) for c in with_summaries]
        yield "turns and summaries", found, [("hybrid", {}), *SPOKEN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="corpus:DIR or conversation:FILE")
    parser.add_argument("--encoder", default="wordllama")
    parser.add_argument("--cache", type=Path, help="file for the vectors of a slow encoder")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, nothing else")
    options = parser.parse_args()
    kind, _, path = options.data.partition(":")
    if kind not in ("corpus", "conversation") or not path:
        parser.error(f"data is '{options.data}'; must be corpus:DIR or conversation:FILE")
    encoder = open_encoder(options.encoder, cache=options.cache)
    results, dense = [], None
    for given, corpora, methods in views(kind, path, encoder):
        for name, changed in methods:
            began = time.perf_counter()
            found = evaluate(open_method(name, **changed), corpora)
            dense = found if dense is None and name == "dense" else dense
            results.append(row(given, name, changed, found, dense) | {"seconds": time.perf_counter() - began})
            if not options.json:
                show(results[-1])
    if options.json:
        print(json.dumps({"benchmark": "recall", "data": path, "encoder": encoder.name, "results": results}))


def row(given: str, name: str, changed: dict[str, Any], found: Evaluation, dense: Evaluation | None) -> dict[str, Any]:
    summary = {metric: [i.mean, i.low, i.high] for metric, i in found.summary().items()}
    ours: dict[str, Any] = {"given": given, "method": name, "options": changed, "metrics": summary}
    if dense is not None:
        better = paired_difference(found.values("recall@5"), dense.values("recall@5"))
        ours["recall@5 over dense"] = [better.mean, better.low, better.high]
    return ours | {"median_ms": 1000 * found.median_seconds}


def show(result: dict[str, Any]) -> None:
    options = " ".join(f"{name}={value}" for name, value in result["options"].items())
    wanted = ("recall@1", "recall@2", "recall@3", "recall@5", "recall@10", "all@5", "ndcg@5", "turn_recall@5")
    shown = [f"{m} {100 * result['metrics'][m][0]:.1f}" for m in wanted if m in result["metrics"]]
    low, high = result["metrics"]["recall@5"][1:]
    against = result.get("recall@5 over dense")
    over = f"  over dense {100 * against[0]:+.1f} [{100 * against[1]:.1f}, {100 * against[2]:.1f}]" if against else ""
    head = f"{result['given']:20} {result['method']:11}{options:26}"
    tail = f"R@5 in [{100 * low:.1f}, {100 * high:.1f}]{over}  {result['median_ms']:.1f} ms"
    print(head, "  ".join(shown), tail, flush=True)


if __name__ == "__main__":
    main()
