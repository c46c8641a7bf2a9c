"""What a store holds in memory is what a store sees that was opened just now, whatever was done in between."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hashing_encoder import HashingEncoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnemic.storage import postings, searching
from mnemic.storage.growing import Growing, Grown
from mnemic.storage.records import Event, Hit
from mnemic.storage.store import MemoryStore

Opener = Callable[..., MemoryStore]
NAMES = ["Anna Berg", "Bob Stone", "Acme", "Berlin", "Lake Como"]
QUESTIONS = ("Anna Berg at Acme in Berlin", "the lake of Bob Stone")
METHODS = ("bm25", "dense", "hybrid", "best-turn", "auto", "rule-graph", "hipporag", "hipporag2", "memgas")

said = st.builds(
    lambda first, second, session, time, title, level: Event(
        f"{first} met {second}.",
        session=session,
        time=f"2024-01-0{time}" if time else None,
        title=title,
        level=level if session else "",
        facts=[(first, "met", second)] if time == 3 else None,
    ),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.sampled_from(["", "s1", "s2"]),
    st.integers(0, 5),
    st.sampled_from(["", "", *NAMES[:2]]),
    st.sampled_from(["", "", "", "summary"]),
)
step = st.one_of(
    st.tuples(st.just("add"), st.lists(said, min_size=1, max_size=3)),
    st.tuples(st.just("add elsewhere"), st.lists(said, min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["forget", "erase", "erase elsewhere"]), st.integers(0, 30)),
    st.tuples(st.sampled_from(["reopen", "search", "supersede"]), st.none()),
)


def ranks(store: MemoryStore) -> dict[tuple[str, str], list[Hit]]:
    return {(m, q): store.search(q, method=m, k=50) for m in METHODS for q in QUESTIONS}


def do(what: str, given: object, store: MemoryStore, other: MemoryStore) -> None:
    where = other if what.endswith("elsewhere") else store
    if what.startswith("add"):
        where.add(given)  # type: ignore[arg-type]
    elif what.startswith(("forget", "erase")):
        events = sorted({hit.provenance["event"] for hit in where.search("met", method="bm25", k=99)})
        if events:
            chosen = [events[given % len(events)]]  # type: ignore[operator]
            where.forget(chosen) if what == "forget" else where.erase(chosen)
    elif what == "supersede" and (facts := store.facts()):
        store.supersede(facts[0].id, ("Anna Berg", "left", "Berlin"))
    ranks(store)


def same(found: Sequence[Hit], expected: Sequence[Hit]) -> None:
    """The same scores; those that are equal but for rounding may change places."""
    assert len(found) == len(expected)
    np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in expected], rtol=1e-6, atol=1e-6)
    scores = {hit.id: hit.score for hit in expected}
    for hit in found:
        assert hit.score == pytest.approx(scores.get(hit.id, hit.score), rel=1e-6, abs=1e-6)
    least = expected[-1].score if expected else 0.0
    assert {hit.id for hit in found if hit.score > least + 1e-6} == {
        hit.id for hit in expected if hit.score > least + 1e-6
    }


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(step, min_size=2, max_size=8))
def test_any_interleaving_is_recalled_as_by_a_store_opened_now(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("steps") / "memory.db"
    interleaved(lambda: MemoryStore.open(path, encoder=HashingEncoder()), steps)


def test_an_interleaving_in_each_database(open_store: Opener) -> None:
    first = [
        Event("Anna Berg met Bob Stone.", session="s1", time="2024-01-05"),
        Event("Acme met Berlin.", title="Acme"),
    ]
    told = Event("Berlin met Acme.", session="s1", level="summary")
    late = Event("Lake Como met Anna Berg.", session="s1", time="2024-01-02")
    fact = Event("Bob Stone met Acme.", facts=[("Bob Stone", "met", "Acme")])
    interleaved(
        open_store,
        [
            ("add", first), ("add elsewhere", [late]), ("forget", 0), ("add", [fact]), ("add", first),
            ("supersede", None), ("erase elsewhere", 1), ("reopen", None), ("add", [told]),
        ],
    )  # fmt: skip


def interleaved(open_it: Callable[[], MemoryStore], steps: list[tuple[str, object]]) -> None:
    store, other = open_it(), open_it()
    try:
        for what, given_ in steps:
            if what == "reopen":
                store.close()
                store = open_it()
            do(what, given_, store, other)
            fresh = open_it()
            expected = ranks(fresh)
            fresh.close()
            for each in (store, other):
                for key, hits in ranks(each).items():
                    same(hits, expected[key])
    finally:
        store.close()
        other.close()


def test_a_write_is_found_without_reading_what_was_there(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = open_store(), open_store()
    store.add([Event(f"Note {i} of Anna Berg in City {i}.") for i in range(20)])
    for each in (store, other):
        each.search("note of Anna", method="hybrid")
    read: list[int] = []
    rows = searching.load_passages

    def counted(tx, tenant, image):  # type: ignore[no-untyped-def]
        before = len(image.seqs)
        rows(tx, tenant, image)
        read.append(len(image.seqs) - before)

    monkeypatch.setattr(searching, "load_passages", counted)
    monkeypatch.setattr(postings, "_read", lambda *_: pytest.fail("terms that are held were read again"))
    store.add("Another note of Anna.")
    for each in (store, other):
        assert each.search("note of Anna", method="bm25", k=1)[0].text == "Another note of Anna."
    store.forget([store.search("note of Anna", method="bm25", k=1)[0].provenance["event"]])
    monkeypatch.undo()
    monkeypatch.setattr(searching, "load_passages", counted)
    assert "Another" not in " ".join(hit.text for hit in other.search("note of Anna", method="bm25", k=50))
    assert read == [1, 1, 0]


def test_what_is_held_of_keywords_is_bounded(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings, "MOST_HELD", 30)
    monkeypatch.setattr(postings, "MOST_READ", 15)
    store = open_store()
    for begin in range(0, 60, 10):
        store.add([Event(f"word{i} word{i % 7} word{i % 3} all") for i in range(begin, begin + 10 + begin % 20)])
        for i in range(0, 10, 3):
            question = f"word{i} word{i + 1} all"
            fresh = open_store()
            assert store.search(question, method="bm25", k=80) == fresh.search(question, method="bm25", k=80)
            fresh.close()
        image = store._searcher._image
        assert image is not None
        assert image.postings._size == sum(map(len, image.postings._held.values())) <= 30


def test_an_old_view_stays_as_it_was(open_store: Opener) -> None:
    store = open_store()
    store.add([Event("one", session="s", time="2024-01-02"), Event("two", session="s", time="2024-01-04")])
    old = store.view()
    shown = (old.passages, old.vectors.copy(), old.keyword_scores("one two").copy())
    store.add([Event("three one", session="s", time="2024-01-03"), Event("one", session="t")])
    store.search("one", method="hybrid")
    store.forget(filter={"session": "t"})
    store.search("one", method="hybrid")
    assert old.passages == shown[0]
    assert (old.vectors == shown[1]).all()
    assert (old.keyword_scores("one two") == shown[2]).all()


def test_growing_rows_that_were_shown_stay() -> None:
    rows = Growing(np.int64)
    shown = []
    for number in range(100):
        rows.extend(np.array([number, number]))
        shown.append(rows.rows)
    assert all((part == np.repeat(np.arange(number + 1), 2)).all() for number, part in enumerate(shown))
    with pytest.raises(ValueError, match="read-only"):
        rows.rows[0] = 1


def test_what_is_derived_is_extended_and_begun_anew_after_a_failure() -> None:
    calls: list[tuple[object, int]] = []

    def extend(before: list[int] | None, first: int) -> list[int]:
        calls.append((before and list(before), first))
        if len(calls) == 2:
            raise RuntimeError("half done")
        return list(range(9))

    grown = Grown()
    grown.get("x", 3, extend)
    with pytest.raises(RuntimeError):
        grown.get("x", 5, extend)
    grown.get("x", 5, extend)
    grown.get("x", 5, extend)
    grown.get("x", 4, extend)
    assert [first for _, first in calls] == [0, 3, 0, 0]
    assert [before is None for before, _ in calls] == [True, False, True, True]


def test_the_cache_beside_the_file_is_no_part_of_it(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "m.db", encoder=HashingEncoder()) as store:
        store.add(["one", "two"])
        for method in METHODS:
            store.search("one", method=method)
    assert {file.name for file in tmp_path.iterdir()} <= {"m.db", "m.db-wal", "m.db-shm"}
