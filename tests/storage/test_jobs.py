"""Work for a language model: what it finds is added, what fails is tried again, and nothing is lost or done twice."""

import threading
from collections.abc import Callable

import pytest

from mnemic.llm import BudgetExhausted, EndpointUnavailable, FakeLLM
from mnemic.storage import jobs
from mnemic.storage.records import Event
from mnemic.storage.store import MemoryStore

Opener = Callable[..., MemoryStore]

EVENTS = [Event(f"Ada Stone works at Acme number {i}.", title="Ada", source=f"n{i}") for i in range(4)]


def model(*first: object) -> FakeLLM:
    """Answers with one name and one fact; before that, once each, as told."""
    waiting = list(first)

    def answer(call: object) -> object:
        if waiting:
            return waiting.pop(0)
        if call.tag == "passage names":  # type: ignore[attr-defined]
            return {"entities": ["Ada Stone", "Acme"]}
        return {"facts": [{"subject": "Ada Stone", "predicate": "works at", "object": "Acme"}]}

    return FakeLLM([("", answer)])


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed job is due again at once."""
    monkeypatch.setattr(jobs, "_FIRST_PAUSE", 0)


def test_what_a_model_finds_is_added_and_counted(store: MemoryStore) -> None:
    store.add(EVENTS, extract="llm")
    assert store.search("Acme", method="bm25")
    assert store.facts() == []
    report = store.run_jobs(model())
    assert (report.done, report.failed, report.stopped) == (4, 0, "")
    [fact] = store.facts("Ada Stone")
    assert (fact.object, fact.extractor, len(fact.events)) == ("Acme", "llm/fake", 4)
    done = store.jobs("done")
    assert len(done) == 4
    assert sum(job.tokens_in for job in done) == report.tokens_in > 0
    assert store.run_jobs(model()).done == 0
    for method in ("hipporag", "hipporag2"):
        assert store.search("Where does Ada Stone work?", method=method)[0].provenance["title"] == "Ada"


def test_events_are_erased_with_their_jobs_and_what_the_model_found(store: MemoryStore) -> None:
    store.add("untouched")
    digest = store.digest()
    ids = [name or "" for name in store.add(EVENTS, extract="llm").ids]
    store.run_jobs(model(), max_jobs=2)
    assert store.erase(ids).jobs == 4
    assert store.digest() == digest
    assert store.jobs() == []


def test_a_failed_job_is_tried_again_and_given_up_in_the_end(store: MemoryStore, soon: None) -> None:
    store.add(EVENTS[0], extract="llm")
    report = store.run_jobs(model(EndpointUnavailable("gone"), EndpointUnavailable("gone")))
    assert (report.done, report.failed) == (1, 2)
    assert store.jobs()[0].attempts == 3
    store.add(EVENTS[1], extract="llm")
    report = store.run_jobs(FakeLLM([("", EndpointUnavailable("gone for good"))]))
    assert (report.done, report.failed, report.dead) == (0, 4, 1)
    [dead] = store.jobs("dead")
    assert "gone for good" in dead.error
    assert store.run_jobs(model()).done == 0
    assert store.retry_jobs() == 1
    assert store.run_jobs(model()).done == 1


def test_nonsense_from_a_model_harms_nothing(store: MemoryStore, soon: None) -> None:
    store.add(EVENTS[0], extract="llm")
    digest = store.digest()
    report = store.run_jobs(FakeLLM([("", "I would rather not.")]))
    assert report.dead == 1
    assert store.digest() == digest


def test_what_no_job_survives_ends_the_run_and_counts_as_no_try(store: MemoryStore) -> None:
    store.add(EVENTS, extract="llm")
    report = store.run_jobs(model(BudgetExhausted("all is spent")))
    assert (report.done, report.stopped) == (0, "all is spent")
    assert [(job.state, job.attempts) for job in store.jobs()] == [("queued", 0)] * 4
    assert store.run_jobs(model()).done == 4


def test_an_interrupted_job_is_due_at_once(store: MemoryStore) -> None:
    store.add(EVENTS[0], extract="llm")
    with pytest.raises(KeyboardInterrupt):
        store.run_jobs(model(KeyboardInterrupt()))
    assert (store.jobs()[0].state, store.jobs()[0].attempts) == ("queued", 0)


def test_a_lease_that_ran_out_is_taken_over_and_the_late_one_writes_nothing(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = open_store(), open_store()
    one.add(EVENTS[0], extract="llm")
    monkeypatch.setattr(jobs, "LEASE", -1)
    reports = []

    def slow(call: object) -> object:
        if not reports:
            reports.append(other.run_jobs(model(), max_jobs=1))
        return {"entities": []} if call.tag == "passage names" else {"facts": []}  # type: ignore[attr-defined]

    one.run_jobs(FakeLLM([("", slow)]), max_jobs=1)
    assert reports[0].done == 1
    assert one.facts("Ada Stone")
    assert [job.state for job in one.jobs()] == ["done"]


def test_workers_share_jobs_and_do_none_twice(open_store: Opener) -> None:
    store = open_store()
    events = [Event(f"Ada Stone met person {i}.", source=f"n{i}") for i in range(24)]
    store.add(events, extract="llm")
    clients = [model() for _ in range(4)]
    stores = [open_store() for _ in clients]
    threads = [threading.Thread(target=s.run_jobs, args=(c,)) for s, c in zip(stores, clients, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [job.attempts for job in store.jobs("done")] == [1] * 24
    assert sum(client.totals.requests for client in clients) == 48
