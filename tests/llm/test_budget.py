"""Nothing is spent beyond a limit, and all up to it can be."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.llm import Budget, BudgetExhausted, EndpointFailed, Price, ResponseCache, Usage


def in_threads(count, work):
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("limit", [0, 1, 7, 20])
def test_requests_stop_exactly_at_the_limit(stub_server, make_client, ask, completion, limit):
    stub = stub_server(lambda n, _: completion("yes", delay=0.002))
    client = make_client(stub, budget=Budget(max_requests=limit))
    refused = []

    def call(n):
        for i in range(4):
            try:
                ask(client, f"{n} {i}")
            except BudgetExhausted as full:
                refused.append(full)

    in_threads(8, call)
    assert len(stub.bodies) == limit == client.totals.requests
    assert len(refused) == 32 - limit
    assert "max_requests" in str(refused[0])
    assert refused[0].fatal


def test_requests_that_failed_are_given_back(stub_server, make_client, ask, answer, completion):
    stub = stub_server(lambda n, _: answer(status=400) if n == 0 else completion("yes"))
    client = make_client(stub, budget=Budget(max_requests=1))
    with pytest.raises(EndpointFailed):
        ask(client)
    assert ask(client).text == "yes"


@pytest.mark.parametrize(
    ("limits", "each"),
    [
        ({"max_prompt_tokens": 120}, Usage(30, 20)),
        ({"max_completion_tokens": 80}, Usage(30, 20)),
        ({"max_cost": 4 * 0.13, "prices": {"m": Price(prompt=1000, completion=5000)}}, Usage(30, 20)),
    ],
    ids=["prompt", "completion", "cost"],
)
def test_tokens_and_cost_stop_at_the_limit(stub_server, make_client, ask, completion, limits, each):
    stub = stub_server(lambda n, _: completion("yes", usage=(each.prompt_tokens, each.completion_tokens), delay=0.002))
    client = make_client(stub, budget=Budget(**limits))

    def call(n):
        for i in range(3):
            try:
                ask(client, f"{n} {i}: " + "x" * 61, max_tokens=20)  # estimated at what is then used
            except BudgetExhausted:
                return

    in_threads(6, call)
    assert len(stub.bodies) == 4


def test_cached_replies_cost_no_budget(stub_server, make_client, ask, completion, tmp_path):
    stub = stub_server(lambda n, _: completion("yes"))
    with ResponseCache(tmp_path / "cache.db") as cache:
        ask(make_client(stub, cache=cache))
        broke = make_client(stub, cache=cache, budget=Budget(max_requests=0))
        assert ask(broke).cached
        with pytest.raises(BudgetExhausted, match="max_requests is 0, 0 are spent"):
            ask(broke, "new")


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(0, 200),
    calls=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 100), st.booleans()), max_size=12),
    workers=st.integers(1, 4),
)
def test_never_more_than_the_limit_when_estimates_are_not_too_low(limit, calls, workers):
    """Every call takes at most what was set aside; some fail and take nothing."""
    budget = Budget(max_prompt_tokens=limit)
    taken = []
    refused = []
    waiting = list(calls)
    lock = threading.Lock()

    def work(_):
        while True:
            with lock:
                if not waiting:
                    return
                estimate, percent, fails = waiting.pop()
            used = estimate * percent // 100
            try:
                with budget.reserved("m", estimate, 0) as held:
                    if not fails:
                        held.settle(Usage(used, 0))
                        taken.append(used)
            except BudgetExhausted:
                refused.append((estimate, budget.spent["max_prompt_tokens"]))

    in_threads(workers, work)
    assert sum(taken) == budget.spent["max_prompt_tokens"] <= limit
    assert len(taken) == budget.spent["max_requests"]
    assert all(spent + estimate > limit for estimate, spent in refused)


def test_who_fits_once_others_took_less_waits_for_them():
    budget = Budget(max_completion_tokens=100)
    got = threading.Event()

    def second():
        with budget.reserved("m", 0, 60):
            got.set()

    thread = threading.Thread(target=second)
    with budget.reserved("m", 0, 60) as held:
        thread.start()
        assert not got.wait(0.05)
        held.settle(Usage(0, 40))
    thread.join(10)
    assert got.is_set()
