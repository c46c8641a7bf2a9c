"""A server that is killed in the middle of a bulk loses nothing that it acknowledged; the replay completes it once."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hashing_encoder import HashingEncoder

from mnemic.storage.api_keys import make_key
from mnemic.storage.opening import open_backend
from mnemic.storage.store import MemoryStore

FULL = os.environ.get("MNEMIC_TEST_FULL") == "1"
COUNT = 900 if FULL else 450  # events of a bulk, several transactions
RUNS = 10 if FULL else 1
SUPPORT = str(Path(__file__).resolve().parents[2] / "support")
SERVER = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from hashing_encoder import HashingEncoder
from mnemic.storage.server.app import make_app
from mnemic.storage.server.running import run_server
from mnemic.storage.server.stores import Stores
stores = Stores.open(sys.argv[2], encoder=HashingEncoder())
listener = socket.create_server(("127.0.0.1", 0))
run_server(make_app(stores, with_mcp=False), listener, lambda: print(listener.getsockname()[1], flush=True))
stores.close()
print("closed", flush=True)
"""


def start(location: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-c", SERVER, SUPPORT, location]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, f"http://127.0.0.1:{process.stdout.readline().strip()}"


def bulk(number: int) -> list[dict[str, str]]:
    return [{"text": f"Bulk {number}, note {i}: Ada met Bob in City {i % 7}."} for i in range(COUNT)]


def send(url: str, key: str, number: int) -> dict[str, Any] | None:
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"bulk-{number}"}
    try:
        reply = httpx2.post(f"{url}/v1/events", json={"events": bulk(number)}, headers=headers, timeout=60)
    except httpx2.HTTPError:
        return None
    assert reply.status_code == 200
    found: dict[str, Any] = reply.json()
    return found


@pytest.mark.slow
def test_a_killed_server_loses_nothing_and_stores_nothing_twice(location: str) -> None:
    """It is killed once the first of a bulk's transactions is on the disk."""
    backend = open_backend(location, read_only=False, durability="normal", secure_delete=False)
    key, _ = make_key(backend, "anna", "test")
    backend.close()
    cut = 0
    with MemoryStore.open(location, tenant="anna", encoder=HashingEncoder()) as store:
        for number in range(RUNS):
            process, url = start(location)
            sender = threading.Thread(target=send, args=(url, key, number))
            sender.start()
            while sender.is_alive() and store.stats().events == COUNT * number:
                time.sleep(0.002)
            process.kill()
            process.wait()
            sender.join()
            cut += store.stats().events < COUNT * (number + 1)
            process, url = start(location)
            again, third = send(url, key, number), send(url, key, number)
            process.terminate()
            assert process.wait(30) == 0
            assert again is not None
            assert third is not None
            assert again["failed"] == 0
            assert again["duplicates"] >= 200
            assert third["duplicates"] == COUNT
            assert [item["id"] for item in third["items"]] == [item["id"] for item in again["items"]]
            assert store.check() == []
            assert store.stats().events == store.stats().passages == COUNT * (number + 1)
    print(f"{cut} of {RUNS} bulks were cut in their middle")


@pytest.mark.slow
def test_a_server_that_is_told_to_stop_answers_what_it_has_begun(location: str) -> None:
    backend = open_backend(location, read_only=False, durability="normal", secure_delete=False)
    key, _ = make_key(backend, "anna", "test")
    backend.close()
    process, url = start(location)
    stopper = subprocess.Popen(["sh", "-c", f"sleep 0.15; kill -{int(signal.SIGTERM)} {process.pid}"])
    began = time.monotonic()
    told = send(url, key, 0)
    stopper.wait()
    assert process.wait(30) == 0
    assert process.stdout is not None
    assert process.stdout.read() == "closed\n"
    if told is None:  # the request came after the order
        assert time.monotonic() - began > 0.1
        return
    with MemoryStore.open(location, tenant="anna", encoder=HashingEncoder()) as store:
        assert store.stats().events == told["stored"] == COUNT
