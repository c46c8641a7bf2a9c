"""What may pass is tried again after the right wait; what will not is told at once, in the server's own words."""

import random
import threading
import time
from contextlib import suppress
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import MnemicError
from mnemic.llm import (
    CircuitOpen,
    EndpointFailed,
    EndpointRefused,
    EndpointUnavailable,
    ResponseCache,
    Retries,
    Stopped,
)
from mnemic.llm.clock import Clock
from mnemic.llm.retries import read_retry_after


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again(stub_server, make_client, ask, clock, answer, completion, status):
    stub = stub_server(lambda n, _: completion("yes") if n == 3 else answer(status=status, body="busy"))
    assert ask(make_client(stub)).text == "yes"
    assert len(stub.bodies) == 4
    assert clock.time == pytest.approx(1 + 2 + 4)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_will_not_pass_is_told_at_once(stub_server, make_client, ask, clock, answer, status):
    body = '{"error": {"message": "the model  \\n knows it better ' + "x" * 1000 + '"}}'
    stub = stub_server(lambda n, _: answer(status=status, body=body))
    with pytest.raises(EndpointFailed) as failed:
        ask(make_client(stub))
    message = str(failed.value)
    assert stub.base_url in message
    assert str(status) in message
    assert "the model knows it better" in message
    assert len(message) < 600
    assert (len(stub.bodies), clock.time) == (1, 0)
    assert isinstance(failed.value, EndpointRefused) == failed.value.fatal == (status in (401, 403, 404))
    assert not failed.value.transient
    assert isinstance(failed.value, MnemicError)


def test_waits_grow_to_a_cap_and_tries_end(stub_server, make_client, ask, clock, answer):
    stub = stub_server(lambda n, _: answer(status=503))
    client = make_client(stub, retries=Retries(tries=5, first=10, longest=35))
    with pytest.raises(EndpointUnavailable, match=r"given up after 5 tries: .*503") as failed:
        ask(client)
    assert failed.value.transient
    assert len(stub.bodies) == 5
    assert clock.time == pytest.approx(10 + 20 + 35 + 35)


@settings(deadline=None)
@given(failures=st.integers(1, 12), seed=st.integers(0, 1000))
def test_delays_are_anywhere_up_to_their_bound(failures, seed):
    delay = Retries().delay(failures, random.Random(seed))
    assert 0 <= delay <= min(60, 2 ** (failures - 1))


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured_by_all_calls(stub_server, make_client, ask, clock, answer, completion, form):
    value = "17" if form == "seconds" else formatdate(clock.wall() + 17, usegmt=True)
    stub = stub_server(lambda n, _: completion("yes") if n else answer(status=429, headers={"Retry-After": value}))
    assert ask(make_client(stub)).text == "yes"
    assert clock.time == pytest.approx(17)


def test_another_endpoint_is_asked_while_one_rests(stub_server, make_client, ask, clock, answer, completion):
    resting = stub_server(lambda n, _: answer(status=429, headers={"Retry-After": "200"}))
    other = stub_server(lambda n, _: completion("yes"))
    client = make_client(resting, other)
    assert [ask(client, str(n)).text for n in range(5)] == ["yes"] * 5
    assert len(resting.bodies) == 1
    assert clock.time <= 1


def test_who_asks_to_be_left_alone_for_an_hour_is(stub_server, make_client, ask, clock, answer):
    stub = stub_server(lambda n, _: answer(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(EndpointUnavailable, match="left alone for 3600 s"):
        ask(make_client(stub))
    assert (len(stub.bodies), clock.time) == (1, 0)


def test_retry_after_that_says_nothing():
    assert read_retry_after(None, 0) is None
    assert read_retry_after("soon", 0) is None
    assert read_retry_after("nan", 0) is None
    assert read_retry_after("inf", 0) is None
    assert read_retry_after("-3", 0) == 0
    assert read_retry_after("Thu, 01 Jan 1970 00:00:10 GMT", 4.0) == 6
    assert read_retry_after("Thu, 01 Jan 1970 00:00:10 GMT", 99.0) == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"body": '{"choices": [{"message": {"con'},
        {"body": '{"choices": []}', "cut": True},
        {"body": "<html>gateway</html>"},
        {"body": '{"choices": []}'},
        {"body": '{"error": {"message": "upstream"}}'},
        {"body": '{"choices": [{"message": {"content": 3}}]}'},
        {"body": "[" * 100_000},
        {"body": ""},
        {"hang_up": True},
    ],
    ids=lambda bad: str(bad)[:40],
)
def test_broken_answers_are_tries_that_failed(stub_server, make_client, ask, answer, completion, bad):
    stub = stub_server(lambda n, _: completion("yes") if n == 2 else answer(**bad))
    assert ask(make_client(stub)).text == "yes"
    assert len(stub.bodies) == 3


def test_an_answer_that_does_not_come_is_given_up(stub_server, make_client, ask, completion):
    stub = stub_server(lambda n, _: completion("yes", delay=0.0 if n else 0.6))
    assert ask(make_client(stub, endpoint={"timeout": 0.2})).text == "yes"
    assert len(stub.bodies) == 2


def test_nobody_listens(stub_server, make_client, ask):
    class Nowhere:
        base_url = "http://127.0.0.1:9/v1"

    with pytest.raises(EndpointUnavailable, match=r"http://127\.0\.0\.1:9/v1 cannot be reached"):
        ask(make_client(Nowhere))


def test_a_storm_ends_in_a_clear_error_and_keeps_what_was_paid(
    stub_server, make_client, ask, clock, answer, completion, tmp_path
):
    stub = stub_server(lambda n, _: completion("yes") if n < 3 else answer(status=429, body="slow down"))
    cache = ResponseCache(tmp_path / "cache.db")
    client = make_client(stub, cache=cache)
    for n in range(3):
        ask(client, str(n))

    def until_it_opens():
        for n in range(3, 1000):
            with suppress(EndpointUnavailable):
                ask(client, str(n))

    with pytest.raises(CircuitOpen, match=r"nothing was answered for .* s: .*429: slow down"):
        until_it_opens()
    assert 600 <= clock.time < 1200
    sent = len(stub.bodies)
    with pytest.raises(CircuitOpen):
        ask(client, "another")
    assert len(stub.bodies) == sent
    assert [ask(client, str(n)).cached for n in range(3)] == [True] * 3
    assert len(cache) == 3


def test_waiting_is_shown_and_can_be_stopped(stub_server, make_client, ask, answer):
    stub = stub_server(lambda n, _: answer(status=429, headers={"Retry-After": "250"}))
    client = make_client(stub, clock=Clock())
    errors = []

    def call():
        try:
            ask(client)
        except Stopped as stopped:
            errors.append(stopped)

    thread = threading.Thread(target=call)
    thread.start()
    deadline = time.monotonic() + 10
    while "429" not in (client.waiting or "") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.waiting is not None
    assert "next try in" in client.waiting
    client.stop()
    thread.join(10)
    assert len(errors) == 1
    assert len(stub.bodies) == 1
    assert client.waiting is None
    with pytest.raises(Stopped):
        ask(client)


def test_twenty_failed_calls_in_a_row_end_it(stub_server, make_client, ask, answer, completion):
    stub = stub_server(lambda n, body: completion("yes") if n == 19 else answer(status=400, body="no"))
    client = make_client(stub)
    for n in range(39):
        if n == 19:
            ask(client)
            continue
        with pytest.raises(EndpointFailed):
            ask(client)
    with pytest.raises(EndpointFailed):
        ask(client)
    with pytest.raises(CircuitOpen, match=r"20 calls failed one after another, the last with: .*400: no"):
        ask(client)
    assert len(stub.bodies) == 40
    assert client.totals.failed == 39
