"""Clients whose waits take no time, and whose jitter is the longest there is."""

import random

import pytest

from mnemic.llm import Endpoint, LLMClient
from mnemic.llm.clock import Clock


class JumpingClock(Clock):
    """Time passes only by waiting, and then at once."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def wall(self):
        return 1_700_000_000.0 + self.time

    def wait(self, condition, seconds):
        if seconds is None:
            condition.wait(10)
        else:
            self.time += max(0.0, seconds)


class NoLuck(random.Random):
    def uniform(self, low, high):
        return high


@pytest.fixture
def clock():
    return JumpingClock()


@pytest.fixture
def make_client(clock):
    """`make_client(stub, …)`: one endpoint per stub; `endpoint` holds options of theirs."""
    clients = []

    def make(*stubs, model="m", endpoint=None, **options):
        endpoints = [Endpoint(base_url=stub.base_url, **(endpoint or {})) for stub in stubs]
        client = LLMClient(endpoints, model, **({"clock": clock, "random": NoLuck()} | options))
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def ask():
    """`ask(client, text)`: one question in one message."""
    return lambda client, text="hello", **options: client.complete([{"role": "user", "content": text}], **options)
