"""Limits per minute, limits at a time, the choice among servers, and their rest."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.llm import Endpoint
from mnemic.llm.endpoints import Pool
from mnemic.llm.rates import MinuteWindow


@settings(deadline=None)
@given(limit=st.integers(1, 30), amounts=st.lists(st.tuples(st.integers(1, 40), st.floats(0, 30)), max_size=40))
def test_no_minute_holds_more_than_the_limit(limit, amounts):
    """Against a count of every window that begins with a request. What is too large by itself goes over, alone."""
    window, now, sent = MinuteWindow(limit), 0.0, []
    for amount, pause in amounts:
        now = max(now + pause, window.ready_at(amount, now + pause))
        assert window.ready_at(amount, now) <= now
        window.add(amount, now)
        sent.append((now, amount))
    for start, _ in sent:
        inside = [amount for at, amount in sent if start <= at < start + 60]
        assert sum(inside) <= limit or len(inside) == 1


@settings(deadline=None)
@given(limit=st.integers(1, 20), amounts=st.lists(st.integers(1, 20), min_size=1, max_size=30))
def test_nobody_waits_longer_than_needed(limit, amounts):
    """A moment before it was let through, the request would have gone over the limit."""
    window, now, sent = MinuteWindow(limit), 0.0, []
    for amount in amounts:
        ready = window.ready_at(amount, now)
        if ready > now:
            just_before = [a for at, a in sent if at > ready - 1e-6 - 60]
            assert sum(just_before) + min(amount, limit) > limit
        now = ready
        window.add(amount, now)
        sent.append((now, amount))


def test_what_was_used_takes_the_place_of_what_was_expected():
    window = MinuteWindow(100)
    entry = window.add(90, 0.0)
    assert window.ready_at(50, 1.0) == 60.0
    window.correct(entry, 20)
    assert window.ready_at(50, 1.0) == 1.0
    window.ready_at(1, 100.0)
    window.correct(entry, 1000)
    assert window.ready_at(100, 100.0) == 100.0


@pytest.mark.parametrize("cap", [1, 3])
def test_never_more_at_a_time_than_allowed_and_all_of_it(stub_server, make_client, ask, completion, cap):
    from mnemic.llm.clock import Clock

    stubs = [stub_server(lambda n, _: completion("yes", delay=0.01)) for _ in range(2)]
    client = make_client(*stubs, endpoint={"max_concurrency": cap}, clock=Clock())
    threads = [threading.Thread(target=ask, args=(client, str(n))) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(len(stub.bodies) for stub in stubs) == 40
    assert [stub.most_at_once for stub in stubs] == [cap, cap]


def test_requests_per_minute_are_waited_for(stub_server, make_client, ask, clock, completion):
    stub = stub_server(lambda n, _: completion("yes"))
    client = make_client(stub, endpoint={"requests_per_minute": 2})
    times = []
    for n in range(6):
        ask(client, str(n))
        times.append(clock.time)
    assert times == [0, 0, 60, 60, 120, 120]


def test_tokens_per_minute_are_counted_as_used(stub_server, make_client, ask, clock, completion):
    stub = stub_server(lambda n, _: completion("yes", usage=(40, 10)))
    client = make_client(stub, endpoint={"tokens_per_minute": 150})
    times = []
    for n in range(5):
        ask(client, str(n), max_tokens=30)
        times.append(clock.time)
    assert times == [0, 0, 0, 60, 60]


def endpoints(*caps):
    return [Endpoint(base_url=f"http://host{n}/v1", max_concurrency=cap) for n, cap in enumerate(caps)]


def test_the_least_loaded_is_asked(clock):
    pool = Pool(endpoints(2, 4), clock)
    chosen = [pool.acquire(1).endpoint.base_url[11] for _ in range(6)]
    assert sorted(chosen) == ["0", "0", "1", "1", "1", "1"]
    assert chosen[:3] == ["0", "1", "1"]


def test_five_failures_in_a_row_bring_rest_and_an_answer_ends_the_count(clock):
    pool = Pool(endpoints(1, 1)[:1], clock)
    for failures in (4, 5):
        for _ in range(failures):
            pool.failed(pool.acquire(1), "busy", None)
        began = clock.time
        pool.answered(pool.acquire(1), 1)
        assert (clock.time > began) == (failures == 5)


def test_rests_grow_until_it_answers(clock):
    pool = Pool(endpoints(1), clock)
    rests = []
    for _ in range(7):
        for _ in range(5):
            pool.failed(pool.acquire(1), "busy", None)
        began = clock.time
        lease = pool.acquire(1)
        rests.append(clock.time - began)
        pool.released(lease)
    assert rests == [15, 30, 60, 120, 240, 240, 240]


def test_who_waits_says_for_what(clock):
    pool = Pool([Endpoint(base_url="http://host/v1", requests_per_minute=1)], clock)
    said = []
    wait = clock.wait
    clock.wait = lambda condition, seconds: (said.append(pool.waiting), wait(condition, seconds))
    pool.answered(pool.acquire(1), 1)
    lease = pool.acquire(1)
    assert said == ["the limit per minute of http://host/v1 is reached; next try in 60 s"]
    pool.failed(lease, "http://host/v1 answered 503", 90)
    pool.acquire(1)
    assert said[1:] == ["http://host/v1 answered 503; next try in 90 s"]
    assert pool.waiting is None
