"""What a store promises, whatever database it lies in."""

import os
import threading
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hashing_encoder import HashingEncoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.storage.conflicts import Conflict
from mnemic.storage.records import Event, NewFact
from mnemic.storage.rule_extraction import extract_by_rules
from mnemic.storage.store import MemoryStore

Opener = Callable[..., MemoryStore]

EVENTS = [
    Event("Anna Berg moved to Berlin in 2020.", session="s1", actor="Anna", time="2024-01-01T10:00:00Z"),
    Event(
        "Did Anna Berg like Paris? She left Paris for Berlin.", session="s1", actor="Bob", time="2024-01-01T10:01:00Z"
    ),
    Event("Berlin is the capital of Germany. Paris is the capital of France.", title="Capitals", source="book"),
    Event("Bob Stone works for Acme Corporation in Berlin.", title="Bob Stone", source="book"),
    Event("Ada works at Acme.", source="own", facts=[("Ada", "works at", "Acme"), ("Acme", "is in", "Berlin")]),
    Event("Ada still works at Acme.", source="own", facts=[("ada", "works at", "ACME")], entities=["Ada"]),
]


def texts(hits: list) -> list[str]:
    return [hit.text for hit in hits]


def test_what_was_added_is_there_exactly_and_is_found(store: MemoryStore) -> None:
    text = "  The répertoire of Zoë\tis 日本語, “quoted”\r\n — and more.  "
    report = store.add(Event(text, source="notes", metadata={"a": [1, {"b": None}]}, time="2024-02-03"))
    event = store.get(report.ids[0] or "")
    assert (event.text, event.source, dict(event.metadata)) == (text, "notes", {"a": [1, {"b": None}]})
    [hit] = store.search("zoe repertoire", method="bm25")
    assert hit.text == text.strip()
    assert hit.provenance == {
        "event": event.id, "source": "notes", "session": "", "actor": "", "time": "2024-02-03T00:00:00Z", "title": "",
        "level": "chunk",
    }  # fmt: skip


@pytest.mark.parametrize("method", ["auto", "bm25", "dense", "hybrid", "best-turn", "rule-graph"])
def test_every_method_finds_what_has_the_words_of_the_question(store: MemoryStore, method: str) -> None:
    store.add(EVENTS)
    hits = store.search("Acme Corporation Bob Stone", method=method, k=3)
    assert "Acme Corporation" in hits[0].text
    assert len(hits) <= 3
    assert hits == store.search("Acme Corporation Bob Stone", method=method, k=3)


def test_the_same_again_is_a_duplicate_and_changes_nothing(store: MemoryStore) -> None:
    first = store.add(EVENTS)
    digest, stats = store.digest(), store.stats()
    again = store.add(EVENTS)
    assert (first.stored, again.duplicates) == (len(EVENTS), len(EVENTS))
    assert again.ids == first.ids
    assert (store.digest(), store.stats().events, store.stats().passages) == (digest, stats.events, stats.passages)


def test_twice_in_one_list_is_stored_once(store: MemoryStore) -> None:
    report = store.add(["once", "twice", "once"])
    assert [item.status for item in report.items] == ["stored", "stored", "duplicate"]
    assert report.ids[0] == report.ids[2]


def test_a_key_makes_one_event_of_two_texts(store: MemoryStore) -> None:
    first = store.add("one", idempotency_key="k")
    second = store.add("two", idempotency_key="k")
    assert (second.items[0].status, second.ids) == ("duplicate", first.ids)
    assert store.stats().events == 1


def test_times_and_sessions_tell_equal_texts_apart(store: MemoryStore) -> None:
    same = [Event("ok", session="a"), Event("ok", session="b"), Event("ok", session="a", time="2024-01-01"), "ok"]
    assert store.add(same).stored == 4


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (Event(""), "empty"),
        (Event(" \n"), "empty"),
        (Event("a\0b"), "NUL at character 1"),
        (Event("bad \ud800"), "half a character"),
        (Event("x", time="soon"), "soon"),
        (Event("x", metadata={"f": float("nan")}), "metadata"),
        (Event("x", metadata={"a": "\0"}), "metadata"),
        (Event("x", source="s" * 2000), "source"),
        (Event("x", level="book"), "level"),
        (Event("x", facts=[("a", "b")]), "fact"),  # type: ignore[list-item]
        (Event("x", facts=[NewFact("a", "b", "c", valid_from="2024", valid_to="2023")]), "valid"),
        (Event(b"bytes"), "text is bytes"),  # type: ignore[arg-type]
    ],
)
def test_one_bad_event_fails_by_name_and_keeps_no_other_back(store: MemoryStore, event: Event, word: str) -> None:
    report = store.add([Event("before"), event, Event("after")])
    assert [item.status for item in report.items] == ["stored", "failed", "stored"]
    assert word in report.items[1].reason
    assert store.stats().events == 2


def test_adding_and_erasing_leaves_no_trace(store: MemoryStore) -> None:
    store.add(EVENTS[:3])
    digest, stats = store.digest(), store.stats()
    report = store.add(EVENTS[3:])
    assert store.digest() != digest
    erased = store.erase([name for name in report.ids if name])
    assert (erased.events, erased.passages, erased.facts) == (3, 3, 2)
    assert store.digest() == digest
    after = store.stats()
    assert (after.events, after.passages, after.entities, after.facts) == (
        stats.events, stats.passages, stats.entities, stats.facts,
    )  # fmt: skip
    assert store.check() == []
    assert not any("Acme" in text for text in texts(store.search("Acme", method="bm25")))
    assert all(entry.before is None and entry.after is None for entry in store.history(report.ids[0]))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_order_and_erased_events_make_no_difference(tmp_path_factory, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(EVENTS))))
    doomed = data.draw(st.sets(st.sampled_from(range(len(EVENTS)))))
    folder = tmp_path_factory.mktemp("order")
    with (
        MemoryStore.open(folder / "a.db", encoder=HashingEncoder()) as one,
        MemoryStore.open(folder / "b.db", encoder=HashingEncoder()) as other,
    ):
        ids = {index: one.add(EVENTS[index]).ids[0] for index in order}
        if doomed:
            one.erase([ids[index] or "" for index in doomed])
        kept = [event for index, event in enumerate(EVENTS) if index not in doomed]
        other.add(kept)
        assert one.digest() == other.digest()


def test_forgotten_is_not_recalled_until_it_is_said_again(store: MemoryStore) -> None:
    store.add(EVENTS)
    assert store.forget(filter={"source": "book"}) == 2
    assert store.forget(filter={"source": "book"}) == 0
    for method in ("bm25", "dense", "hybrid", "rule-graph"):
        assert not any("capital" in text for text in texts(store.search("capital Germany", method=method)))
    assert (store.stats().events, store.stats().forgotten) == (4, 2)
    assert store.add(EVENTS[2]).items[0].status == "stored"
    assert "capital" in store.search("capital Germany", method="bm25")[0].text


def test_facts_of_forgotten_events_are_claimed_no_more(store: MemoryStore) -> None:
    store.add(EVENTS)
    assert {fact.object for fact in store.facts("Acme")} == {"Berlin"}
    store.forget(filter={"source": "own"})
    assert store.facts() == []


def test_a_subject_is_erased_with_all_that_speaks_of_it(store: MemoryStore) -> None:
    store.add(EVENTS)
    store.supersede(store.facts("Ada")[0].id, ("Ada", "works at", "Globex"))
    store.erase(subject="Ada")
    assert not store.facts("Ada")
    assert not any("Ada" in text for text in texts(store.search("Ada works Acme Globex", method="bm25")))
    store.erase(subject="anna")
    assert "Anna" not in " ".join(
        hit.provenance["actor"] for hit in store.search("Anna Berlin moved", method="bm25", k=50)
    )


def test_a_subject_is_found_in_any_case_but_only_as_whole_words(store: MemoryStore) -> None:
    texts = ["i met anna  BERG, she says", "Annaberg is a town", "Anna climbed a berg", "berg, Anna", "Plan"]
    ids = store.add([*texts, Event("about her", title="Anna Berg")]).ids
    assert store.erase(subject="Anna Berg").events == 2
    kept = {hit.provenance["event"] for hit in store.search("anna berg annaberg plan", method="dense", k=50)}
    assert kept == set(ids[1:5])
    for empty in ("", "  ", "?!"):
        with pytest.raises(UsageError, match="no name"):
            store.erase(subject=empty)


def test_everything_goes(store: MemoryStore) -> None:
    store.add(EVENTS)
    store.erase(everything=True, scrub=True)
    stats = store.stats()
    assert (stats.events, stats.passages, stats.entities, stats.facts) == (0, 0, 0, 0)
    assert store.search("Berlin") == []
    assert store.add(EVENTS[0]).stored == 1


def test_facts_hold_in_both_of_their_times(store: MemoryStore) -> None:
    store.add("Bob joined Acme.", facts=[NewFact("Bob", "works for", "Acme", valid_from="2020-01-01")])
    [old] = store.facts("bob")
    new = store.supersede(old.id, NewFact("Bob", "works for", "Globex", valid_from="2024-01-01"))
    by_time = {
        at: [fact.object for fact in store.facts("Bob", at=at)] for at in ("2019-01-01", "2021-01-01", "2025-01-01")
    }
    assert by_time == {"2019-01-01": [], "2021-01-01": ["Acme"], "2025-01-01": ["Globex"]}
    assert [fact.object for fact in store.facts("Bob", at="2025-01-01", known_at=old.recorded_at)] == ["Acme"]
    store.retract(new)
    assert store.facts("Bob", at="2025-01-01") == []
    with pytest.raises(Conflict, match="no more"):
        store.retract(new)
    assert [(fact.object, fact.version) for fact in store.timeline("Bob")] == [("Acme", 2), ("Globex", 2), ("Acme", 2)]
    store.add("Eve is here.", facts=[NewFact("Eve", "is", "here", valid_from="2020-01-01")])
    [later] = store.facts("Eve")
    with pytest.raises(UsageError, match="not after"):
        store.supersede(later.id, NewFact("Eve", "is", "there", valid_from="2019-01-01"))


def test_the_same_fact_from_two_events_stands_once_with_both(store: MemoryStore) -> None:
    ids = store.add(EVENTS).ids
    [fact] = store.facts("Ada")
    assert set(fact.events) == {ids[4], ids[5]}
    store.erase([ids[4] or ""])
    assert store.facts("Ada")[0].events == (ids[5],)


def test_a_question_at_a_time_sees_what_was_said_by_then(store: MemoryStore) -> None:
    for day in range(1, 5):
        store.add(Event(f"day {day} report", time=f"2024-01-0{day}"))
    assert len(store.search("report", method="bm25", at="2024-01-02")) == 2
    known = store.get(store.search("day 3", method="bm25")[0].provenance["event"]).ingested_at
    assert len(store.search("report", method="bm25", known_at=known)) == 3


def test_filters_choose_and_unknown_ones_are_refused(store: MemoryStore) -> None:
    store.add(EVENTS)
    assert {h.provenance["actor"] for h in store.search("Berlin", method="hybrid", filters={"actor": "Bob"})} == {"Bob"}
    assert {h.provenance["level"] for h in store.search("Berlin", method="rule-graph", filters={"level": "chunk"})} == {
        "chunk"
    }
    with pytest.raises(UsageError, match="did you mean 'session'"):
        store.search("x", filters={"sesion": "s"})


@pytest.mark.parametrize(
    "question",
    ['"', "NEAR(a b)", "a AND", "title: x", "* OR *", "'; DROP TABLE event; --", "-x", "()", "^", "\\", "🙂"],
)
def test_operators_in_a_question_are_only_words(store: MemoryStore, question: str) -> None:
    store.add(EVENTS)
    for method in ("bm25", "hybrid", "rule-graph"):
        store.search(question, method=method)
    assert store.stats().events == len(EVENTS)


def test_metadata_changes_only_for_who_has_read_the_last(store: MemoryStore) -> None:
    [name] = store.add(Event("a text", metadata={"a": 1})).ids
    assert name is not None
    assert store.annotate(name, {"a": 2}, expected_version=1) == 2
    with pytest.raises(Conflict, match="version 2, not 1"):
        store.annotate(name, {"a": 3}, expected_version=1)
    assert (store.get(name).metadata, store.get(name).version) == ({"a": 2}, 2)
    assert [entry.action for entry in store.history(name)] == ["annotate", "add"]
    with pytest.raises(UsageError, match="metadata"):
        store.annotate(name, {"a": object()})


def test_a_view_holds_the_graph_and_agrees_with_brute_force(store: MemoryStore) -> None:
    store.add(EVENTS)
    view = store.view()
    assert [p.text for p in view.passages] == [
        f"{event.actor}: {event.text}" if event.actor else event.text for event in EVENTS
    ]
    found = [extract_by_rules(event.title, view.passages[i].text) for i, event in enumerate(EVENTS[:4])]
    pairs: dict[frozenset[str], float] = {}
    for one in found:
        for (a, b), count in one.pairs.items():
            key = frozenset((a.norm_name, b.norm_name))
            pairs[key] = pairs.get(key, 0) + count
    names = [entity.norm_name for entity in view.entities]
    links = view.cooccurrences
    edges = zip(links.first.tolist(), links.second.tolist(), links.weights.tolist(), strict=True)
    assert {frozenset((names[i], names[j])): weight for i, j, weight in edges} == pairs
    assert [(names[f.subject], f.predicate, f.object_text) for f in view.facts] == [
        ("ada", "works at", "acme"), ("acme", "is in", "berlin"),
    ]  # fmt: skip
    assert view.support is not None
    assert [view.support.row(row)[0].tolist() for row in range(2)] == [[4, 5], [4]]
    assert np.allclose(view.vectors, HashingEncoder().encode([p.indexed for p in view.passages]))
    spoken = store.view(filters={"session": "s1"})
    assert (len(spoken.passages), spoken.facts) == (2, ())
    store.forget(filter={"source": "own"})
    assert store.view().facts == ()


def test_wrong_calls_are_refused_by_name(store: MemoryStore) -> None:
    for wrong in (
        lambda: store.search("x", k=0),
        lambda: store.search("x", method="nope"),
        lambda: store.forget(),
        lambda: store.erase(["missing"]),
        lambda: store.get("missing"),
        lambda: store.add("x", extract="magic"),  # type: ignore[arg-type]
        lambda: store.add(["x", "y"], entities=["Z"]),
        lambda: store.add([1]),  # type: ignore[list-item]
        lambda: store.supersede("missing", ("a", "b", "c")),
        lambda: store.facts(at="noon"),
        lambda: store.add("x", idempotency_key=""),
        lambda: store.add("x", idempotency_key="a\0"),
        lambda: store.forget("id"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError):
            wrong()


def test_another_encoder_is_refused_and_none_is_asked_for_by_name(open_store: Opener) -> None:
    open_store().add("something")
    with pytest.raises(UsageError, match="reembed"):
        open_store(encoder=HashingEncoder("other"))
    with pytest.raises(UsageError, match="unknown encoder 'hashing'"):
        open_store(encoder=None).search("something")
    assert open_store(encoder=None).stats().encoder == "hashing"


def test_a_second_store_sees_what_the_first_has_written(open_store: Opener) -> None:
    one, other = open_store(), open_store()
    one.add(EVENTS[:2])
    assert len(other.search("Berlin", method="bm25")) == 2
    one.add(EVENTS[2:])
    assert len(other.search("Berlin", method="bm25")) == 4
    other.erase(everything=True)
    assert one.search("Berlin", method="bm25") == []


def test_stores_that_open_at_once_make_the_tables_once(location: str) -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with MemoryStore.open(location, encoder=HashingEncoder()) as store:
                store.add(f"text {number}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with MemoryStore.open(location, encoder=HashingEncoder()) as store:
        assert store.stats().events == 8


def test_adding_step_by_step_is_searched_as_adding_at_once(open_store: Opener) -> None:
    store = open_store()
    for event in EVENTS:
        store.add(event)
        store.search("Berlin", method="rule-graph")
    for method in ("bm25", "dense", "hybrid", "rule-graph"):
        assert store.search("Berlin Anna", method=method) == open_store().search("Berlin Anna", method=method)


def test_tenants_never_meet(open_store: Opener) -> None:
    """MNEMIC_TEST_FULL=1 makes 10,000 calls."""
    random = Random(3)
    names = ["a", "b", "a'; --", "Ünïcode ✓"]
    stores = {name: open_store(tenant=name) for name in names}
    ids = {
        name: store.add([Event(f"secret {i} of {name} Berlin") for i in range(5)]).ids for name, store in stores.items()
    }
    for _ in range(10_000 if os.environ.get("MNEMIC_TEST_FULL") == "1" else 60):
        name, other = random.sample(names, 2)
        store = stores[name]
        method = random.choice(["bm25", "dense", "hybrid", "rule-graph"])
        hits = store.search(f"secret {random.randrange(5)} of {other} Berlin", method=method, k=50)
        assert {hit.provenance["event"] for hit in hits} <= set(ids[name])
        with pytest.raises(UsageError):
            store.get(random.choice(ids[other]) or "")
        with pytest.raises(UsageError):
            store.erase([random.choice(ids[other]) or ""])
    stores["a"].erase(everything=True)
    assert stores["b"].stats().events == 5
    assert stores["b"].search("secret", method="bm25")


@pytest.mark.parametrize("name", ["", " a", "a\nb", "x" * 201, "a\0"])
def test_a_tenant_needs_a_printable_name(open_store: Opener, name: str) -> None:
    with pytest.raises(UsageError, match="tenant"):
        open_store(tenant=name)


def test_events_are_told_in_time_without_those_that_were_forgotten(store: MemoryStore) -> None:
    late, early = Event("b", session="s", time="2024-02-01"), Event("a", session="s", time="2024-01-01")
    store.add([late, early, Event("c", session="t"), Event("d", session="s", time="2024-03-01")])
    store.forget([store.events(filter={"session": "s"})[2].id])
    assert [event.text for event in store.events(filter={"session": "s"})] == ["a", "b"]
    assert [event.text for event in store.events()] == ["c", "a", "b"]


@pytest.mark.parametrize(
    "text", ["x" * 300_000, "word " * 60_000 + "end", "é" * 100_000, "\n" * 50_000 + "a. " * 40_000]
)
def test_a_line_without_end_is_kept_whole_and_found(store: MemoryStore, text: str) -> None:
    [name] = store.add(text).ids
    assert store.get(name or "").text == text
    assert store.check() == []
    asked = text.split()[-1][:50]
    assert store.search(asked, method="hybrid", k=3)
    assert store.erase([name or ""]).events == 1
    assert store.check() == []
