"""The vector cache: as good as looking at all, never trusted when it is damaged, and never the truth."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hashing_encoder import HashingEncoder

from mnemic.storage import searching
from mnemic.storage.records import Event
from mnemic.storage.store import MemoryStore

WORDS = [f"word{number}" for number in range(60)]


def texts(count: int, first: int = 0) -> list[Event]:
    chance = np.random.default_rng(first)
    return [
        Event(f"item {first + i} " + " ".join(chance.choice(WORDS, 6)), source=str(first + i)) for i in range(count)
    ]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "EXACT_UP_TO", 300)


@pytest.fixture
def opened(tmp_path: Path):
    stores: list[MemoryStore] = []

    def open_it() -> MemoryStore:
        stores.append(MemoryStore.open(tmp_path / "m.db", encoder=HashingEncoder()))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


def nearest(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, *, exact: bool) -> list[list[str]]:
    with monkeypatch.context() as patch:
        if exact:
            patch.setattr(searching, "EXACT_UP_TO", 10**9)
        else:
            store.search("warm", method="dense")
            store._searcher._approximate.wait()  # type: ignore[union-attr]
        asked = [" ".join(WORDS[i : i + 3]) for i in range(0, 60, 3)]
        return [[hit.id for hit in store.search(question, method="dense", k=10)] for question in asked]


def overlap(one: list[list[str]], other: list[list[str]]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(one, other, strict=True)]))


def test_it_finds_nearly_all_of_the_nearest_also_after_writes(
    opened: Callable[[], MemoryStore], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = opened()
    store.add(texts(1500))
    assert overlap(nearest(store, monkeypatch, exact=False), nearest(store, monkeypatch, exact=True)) > 0.98
    store.add(texts(200, 5000))
    wanted = texts(200, 5000)[100].text
    assert store.search(wanted, method="dense", k=1)[0].text == wanted
    gone = [hit.provenance["event"] for hit in store.search("word1 word2", method="dense", k=200)]
    store.erase(gone)
    after = nearest(store, monkeypatch, exact=False)
    assert not {name.partition("/")[0] for names in after for name in names} & set(gone)
    assert overlap(after, nearest(store, monkeypatch, exact=True)) > 0.98
    again = opened()
    assert overlap(nearest(again, monkeypatch, exact=False), nearest(store, monkeypatch, exact=True)) > 0.98
    store.erase(everything=True, scrub=True)
    assert list(tmp_path.glob("*.vectors")) == []


def test_forgotten_and_restored_is_found_again(
    opened: Callable[[], MemoryStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    events = texts(400)
    store.forget([store.add(events).ids[7] or ""])
    nearest(store, monkeypatch, exact=False)
    store.add(events[7])
    nearest(store, monkeypatch, exact=False)
    assert store.search(events[7].text, method="dense", k=1)[0].text == events[7].text


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "other"])
def test_a_missing_or_damaged_cache_is_made_anew(
    opened: Callable[[], MemoryStore], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str
) -> None:
    store = opened()
    store.add(texts(500))
    nearest(store, monkeypatch, exact=False)
    [path] = tmp_path.glob("*.vectors")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:middle], "flipped": flipped, "other": b"something else"}[damage])
    again = opened()
    wanted = texts(500)[77].text
    assert again.search(wanted, method="dense", k=1)[0].text == wanted
    assert overlap(nearest(again, monkeypatch, exact=False), nearest(again, monkeypatch, exact=True)) > 0.98
    assert len(path.read_bytes()) > middle if damage != "missing" else path.exists()
