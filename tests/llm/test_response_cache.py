"""What was paid for is on disk before it is returned, and is paid for once."""

import sqlite3
import threading

import pytest

from mnemic.errors import UsageError
from mnemic.llm import CacheFailed, ResponseCache, Usage
from mnemic.llm.cache import Reply
from mnemic.llm.request import Request


@pytest.fixture
def cache(tmp_path):
    with ResponseCache(tmp_path / "sub" / "cache.db") as cache:
        yield cache


def test_a_reply_is_readable_by_others_before_it_is_returned(cache, stub_server, make_client, ask, completion):
    client = make_client(stub_server(lambda n, _: completion(f"reply {n}")), cache=cache)
    for n in range(3):
        ask(client, f"question {n}", tag="why")
        with sqlite3.connect(cache.path) as other:
            rows = other.execute("SELECT text, model, tag, prompt_tokens FROM replies ORDER BY text").fetchall()
        assert rows == [(f"reply {i}", "m", "why", 10) for i in range(n + 1)]


def test_it_is_kept_in_the_way_that_survives_a_power_cut(cache):
    assert cache._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert cache._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_second_client_pays_nothing_wherever_it_asks(cache, stub_server, make_client, ask, completion):
    first, second = (stub_server(lambda n, _: completion({"a": 1}, usage=(7, 3))) for _ in range(2))
    schema = {"type": "object"}
    ask(make_client(first, cache=cache), response_schema=schema)
    client = make_client(second, cache=cache, endpoint={"api_key": "sk-other-account"})
    again = ask(client, response_schema=schema)
    assert again.cached
    assert (again.parsed, again.usage) == ({"a": 1}, Usage(7, 3))
    assert (client.totals.requests, client.totals.cached, client.totals.prompt_tokens) == (0, 1, 0)
    assert second.bodies == []


def test_the_key_is_of_all_that_decides_the_reply():
    base = {
        "model": "m", "messages": ({"role": "user", "content": "x"},), "sampling": {"temperature": 0.0}, "seed": None,
        "schema": None,
    }  # fmt: skip
    changes = [
        {"model": "n"},
        {"messages": ({"role": "user", "content": "y"},)},
        {"messages": ({"role": "system", "content": "x"},)},
        {"sampling": {"temperature": 0.5}},
        {"sampling": {"temperature": 0.0, "max_tokens": 5}},
        {"seed": 0},
        {"schema": {"type": "object"}},
    ]
    keys = [Request(**(base | change)).key for change in [{}, *changes]]
    assert len(set(keys)) == len(keys)
    assert Request(**base).key == keys[0]
    turned = base | {"messages": ({"content": "x", "role": "user"},)}
    assert Request(**turned).key == keys[0]


@pytest.mark.parametrize(
    ("mode", "paid", "kept"),
    [("read-write", 1, 1), ("read", 2, 0), ("refresh", 2, 1), ("off", 2, 0)],
)
def test_modes(cache, stub_server, make_client, ask, completion, mode, paid, kept):
    stub = stub_server(lambda n, _: completion(f"reply {n}"))
    client = make_client(stub, cache=cache, cache_mode=mode)
    texts = [ask(client).text for _ in range(2)]
    assert len(stub.bodies) == paid
    assert len(cache) == kept
    assert texts[1] == f"reply {paid - 1}"


def test_read_and_refresh_beside_what_is_there(cache, stub_server, make_client, ask, completion):
    stub = stub_server(lambda n, _: completion(f"reply {n}"))
    assert ask(make_client(stub, cache=cache)).text == "reply 0"
    assert ask(make_client(stub, cache=cache, cache_mode="read")).text == "reply 0"
    assert ask(make_client(stub, cache=cache, cache_mode="refresh")).text == "reply 1"
    assert ask(make_client(stub, cache=cache, cache_mode="off")).text == "reply 2"
    assert ask(make_client(stub, cache=cache)).text == "reply 1"


def test_threads_that_ask_the_same_share_one_call(cache, stub_server, make_client, ask, completion):
    stub = stub_server(lambda n, _: completion("yes", delay=0.05))
    client = make_client(stub, cache=cache, endpoint={"max_concurrency": 32})
    done = []
    barrier = threading.Barrier(24)

    def call(n):
        barrier.wait()
        done.append((ask(client, f"question {n % 3}"), n % 3))

    threads = [threading.Thread(target=call, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(stub.bodies) == 3
    assert sum(not completion.cached for completion, _ in done) == 3
    assert (client.totals.requests, client.totals.cached) == (3, 21)


def test_a_bad_reply_on_the_way_to_a_good_one_is_not_paid_twice(cache, stub_server, make_client, ask, completion):
    stub = stub_server(lambda n, _: completion("no JSON" if n == 0 else {"a": 1}))
    for cached in (False, True):
        done = ask(make_client(stub, cache=cache), response_schema={"type": "object"})
        assert (done.parsed, done.cached) == ({"a": 1}, cached)
    assert len(stub.bodies) == 2


def test_what_later_fails_a_new_check_is_asked_for_again(cache, stub_server, make_client, ask, completion):
    stub = stub_server(lambda n, _: completion("short" if n == 0 else "long enough"))
    client = make_client(stub, cache=cache)
    assert ask(client).text == "short"
    assert ask(client, check=lambda text: "too short" if len(text) < 6 else None).text == "long enough"
    assert len(stub.bodies) == 2


def test_files_that_are_no_cache_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be taken for a damaged one " * 20)
    with pytest.raises(UsageError, match=r"cannot use .*notes\.txt"):
        ResponseCache(tmp_path / "notes.txt")
    assert "not a database" in (tmp_path / "notes.txt").read_text()
    with pytest.raises(UsageError, match="cannot use"):
        ResponseCache(tmp_path / "notes.txt" / "below")
    with sqlite3.connect(tmp_path / "later.db") as later:
        later.execute("PRAGMA user_version=99")
    with pytest.raises(UsageError, match="later mnemic"):
        ResponseCache(tmp_path / "later.db")


def test_a_reply_that_cannot_be_kept_ends_the_spending(cache, stub_server, make_client, ask, completion):
    cache._db.execute("PRAGMA query_only=ON")
    client = make_client(stub_server(lambda n, _: completion("yes")), cache=cache)
    with pytest.raises(CacheFailed, match="cannot keep a reply") as failed:
        ask(client)
    assert failed.value.fatal


def test_two_handles_write_one_file(tmp_path):
    caches = [ResponseCache(tmp_path / "cache.db") for _ in range(2)]

    def write(number):
        for i in range(50):
            caches[number].put(f"{number}-{i}", Reply("text", Usage(1, 1)), model="m", tag="")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(caches[0]) == 100
    for cache in caches:
        cache.close()
