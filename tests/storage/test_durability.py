"""Processes killed at any moment and many writers at once lose nothing that was acknowledged, and store nothing twice.

MNEMIC_TEST_FULL=1 runs the counts of the claims: 50 kills, and 8 threads with 3 processes and 5,000 events.
"""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hashing_encoder import HashingEncoder

from mnemic.storage.records import Event
from mnemic.storage.store import MemoryStore

FULL = os.environ.get("MNEMIC_TEST_FULL") == "1"
SUPPORT = str(Path(__file__).resolve().parents[1] / "support")
WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from hashing_encoder import HashingEncoder
from mnemic.storage.records import Event
from mnemic.storage.store import MemoryStore
first, count, size = map(int, sys.argv[3:6])
with MemoryStore.open(sys.argv[2], encoder=HashingEncoder()) as store:
    print("ready", flush=True)
    for begin in range(first, first + count, size):
        text = "Note {}: Anna Berg met Bob Stone in City {}."
        batch = [Event(text.format(i, i % 7), source=f"n{i}") for i in range(begin, begin + size)]
        for item in store.add(batch).items:
            print(item.status, item.id, flush=True)
"""


def writer(location: str, first: int, count: int, size: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, SUPPORT, location, str(first), str(count), str(size)],
        stdout=subprocess.PIPE,
        text=True,
    )


def note(number: int) -> Event:
    return Event(f"Note {number}: Anna Berg met Bob Stone in City {number % 7}.", source=f"n{number}")


@pytest.mark.slow
def test_killed_writers_lose_nothing_that_they_acknowledged(location: str, tmp_path: Path) -> None:
    chance = random.Random(5)
    acknowledged: list[str] = []
    for run in range(50 if FULL else 5):
        child = writer(location, run * 20, 10_000, chance.choice([1, 7, 40]))
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, 0.4))
        child.kill()
        lines = child.stdout.read().split("\n")[:-1]
        child.wait()
        acknowledged += [line.split()[1] for line in lines if len(line.split()) == 2]
    with MemoryStore.open(location, encoder=HashingEncoder()) as store:
        assert store.check() == []
        events = {name: store.get(name) for name in acknowledged}
        assert len(events) > 10
        stats = store.stats()
        found = store.search("Anna Berg", method="bm25", k=10**6)
        assert len(found) == stats.events == stats.passages == len({hit.provenance["source"] for hit in found})
        with MemoryStore.open(tmp_path / "rebuilt.db", encoder=HashingEncoder()) as rebuilt:
            rebuilt.add([note(int(hit.provenance["source"][1:])) for hit in found])
            assert rebuilt.digest() == store.digest()


@pytest.mark.slow
def test_threads_and_processes_write_together(location: str) -> None:
    threads, processes, each = (8, 3, 5_000 // 11) if FULL else (4, 2, 30)
    failed: list[BaseException] = []
    with MemoryStore.open(location, encoder=HashingEncoder()) as store:
        store.add(note(0))

        def work(number: int) -> None:
            try:
                for i in range(each):
                    assert store.add(note(i if i % 3 == 0 else number * each + i)).failed == 0
                    if i % 10 == 0:
                        assert store.search("Anna", method="bm25", k=5)
            except BaseException as error:
                failed.append(error)

        running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        children = [writer(location, number * each, each, 1) for number in range(threads - 1, threads - 1 + processes)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        for child in children:
            child.communicate()
            assert child.returncode == 0
        assert failed == []
        numbers = {i if i % 3 == 0 else t * each + i for t in range(threads) for i in range(each)}
        numbers |= set(range((threads - 1) * each, (threads - 1 + processes) * each)) | {0}
        assert store.stats().events == len(numbers)
        assert {hit.provenance["source"] for hit in store.search("Anna", method="bm25", k=10**6)} == {
            f"n{number}" for number in numbers
        }
        assert store.check() == []
