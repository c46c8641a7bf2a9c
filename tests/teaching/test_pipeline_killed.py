"""A build that is killed, interrupted or starved by its server: the same result in the end, and nothing paid twice.

What can be promised: once a reply is in the cache, and it is before `complete` returns, it is never asked for again. A
request that was on the wire when the process died may be, since nobody knows what became of it; there are at most as
many of those as there are workers.
"""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from mnemic.llm import Endpoint, LLMClient, ResponseCache, Retries
from mnemic.llm.request import Request
from mnemic.teaching.pipeline import BuildStopped, Interrupted, Stage, run_pipeline

KILLS = 20
ITEMS = 30
WORKERS = 4
BUILD = f"""
import os, sys
from mnemic.llm import Endpoint, LLMClient, ResponseCache
from mnemic.teaching.pipeline import Interrupted, Stage, run_pipeline

url, folder = sys.argv[1:]
client = LLMClient(Endpoint(base_url=url), "m", cache=ResponseCache(folder + "/cache.db"))
returned = os.open(folder + "/returned", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def ask(text):
    reply = client.complete([{{"role": "user", "content": text}}]).text
    os.write(returned, text.encode() + b"\\n")
    return reply

def split(item):
    return item | {{"parts": [ask(f"split {{item['id']}} {{part}}") for part in range(3)]}}

def write(item):
    return item | {{"written": ask("write " + " ".join(item["parts"]))}}

stages = [Stage("split", 1, split), Stage("write", 1, write)]
items = [{{"id": str(n)}} for n in range({ITEMS})]
try:
    run_pipeline(stages, items, folder + "/build", config={{"a": 1}}, workers={WORKERS}, llm=client)
except Interrupted as stopped:
    sys.exit(str(stopped))
"""


@pytest.fixture
def teacher(stub_server, completion):
    """Answers with what it was asked, after a moment."""
    return stub_server(lambda n, body: completion(asked(body).upper(), delay=0.002))


def asked(body):
    return body["messages"][-1]["content"]


def start(stub, folder, **options):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", BUILD, stub.base_url, str(folder)], **options)


def kept(folder):
    """Keys of the replies that are in the cache."""
    if not (folder / "cache.db").exists():
        return set()
    with sqlite3.connect(folder / "cache.db") as db:
        has_table = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'replies'").fetchone()[0]
        return {key for (key,) in db.execute("SELECT key FROM replies")} if has_table else set()


def key(body):
    return Request("m", tuple(body["messages"]), {"temperature": 0.0}, None, None).key


def wait_until(condition, process):
    deadline = time.monotonic() + 30
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def test_killed_at_twenty_random_points_the_result_is_the_same_and_no_reply_is_paid_twice(teacher, tmp_path):
    assert start(teacher, tmp_path / "undisturbed").wait(30) == 0
    calls = len(teacher.bodies)
    assert calls == 4 * ITEMS
    folder = tmp_path / "killed"
    luck = random.Random(7)
    points = sorted(luck.sample(range(1, calls - 3 * WORKERS), KILLS))
    repeated = 0
    for run, point in enumerate([*points, None]):
        before = kept(folder)
        returned = set((folder / "returned").read_text().splitlines()) if (folder / "returned").exists() else set()
        began = len(teacher.bodies)
        process = start(teacher, folder)
        if point is not None:
            wait_until(
                lambda began=began, point=point: len(kept(folder)) >= point and len(teacher.bodies) > began, process
            )
            time.sleep(luck.random() * 0.004)
            process.kill()
        assert process.wait(30) == (0 if point is None else -signal.SIGKILL), f"run {run} ended by itself"
        now = teacher.bodies[began:]
        assert not {asked(body) for body in now} & returned
        assert not {key(body) for body in now} & before
        assert len({key(body) for body in now}) == len(now)
        earlier = {key(body) for body in teacher.bodies[calls:began]}
        again = sum(key(body) in earlier for body in now)
        assert again <= WORKERS * run
        repeated += again
    assert repeated == len(teacher.bodies) - 2 * calls <= WORKERS * KILLS
    for name in ("items.jsonl", "items.rejected.jsonl"):
        assert (folder / "build" / name).read_bytes() == (tmp_path / "undisturbed" / "build" / name).read_bytes()
    assert len((folder / "build" / "items.jsonl").read_bytes().splitlines()) == ITEMS


def test_ctrl_c_lets_calls_on_the_wire_end_and_says_how_to_go_on(teacher, tmp_path):
    process = start(teacher, tmp_path / "build", stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(teacher.bodies) > 30, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "run the same again to go on" in said
    assert "Traceback" not in said
    paid = {key(body) for body in teacher.bodies}
    assert len(teacher.bodies) < 4 * ITEMS
    assert kept(tmp_path / "build") == paid
    assert start(teacher, tmp_path / "build").wait(30) == 0
    assert len(teacher.bodies) == 4 * ITEMS


def test_a_storm_of_429_ends_the_build_and_the_next_one_pays_only_for_the_rest(
    stub_server, answer, completion, tmp_path
):
    is_stormy = [False]

    def weather(number, body):
        if number == 30:
            is_stormy[0] = True
        return answer(status=429, body="slow down") if is_stormy[0] else completion(asked(body).upper())

    stub = stub_server(weather)

    def build():
        with ResponseCache(tmp_path / "cache.db") as cache:
            retries = Retries(first=0.001, longest=0.002)
            with LLMClient(
                Endpoint(base_url=stub.base_url), "m", cache=cache, retries=retries, max_failures=3
            ) as client:
                client._pool._clock = Hasty()
                stage = Stage("ask", 1, lambda item: item | {"said": client.complete([message(item)]).text})
                return run_pipeline([stage], items, tmp_path / "build", config={}, workers=3, llm=client)

    items = [{"id": str(n)} for n in range(50)]
    with pytest.raises(BuildStopped, match=r"3 calls failed one after another.*429: slow down.*run the same again"):
        build()
    paid = [asked(body) for body in stub.answered]
    is_stormy[0] = False
    assert build().counts["ok"] == 50
    assert sorted(map(asked, stub.answered)) == sorted(item["id"] for item in items)
    assert len(paid) == 30
    lines = [json.loads(line) for line in (tmp_path / "build" / "items.jsonl").open("rb")]
    assert [line["id"] for line in lines] == [item["id"] for item in items]


def message(item):
    return {"role": "user", "content": item["id"]}


class Hasty:
    """A clock that runs a thousand times too fast, so that an endpoint's rest takes milliseconds."""

    def now(self):
        return time.monotonic() * 1000

    def wall(self):
        return time.time()

    def wait(self, condition, seconds):
        condition.wait(None if seconds is None else seconds / 1000)


def test_a_stop_ends_the_wait_for_an_endpoint_that_rests(stub_server, answer, tmp_path):
    stub = stub_server(lambda n, _: answer(status=429, headers={"Retry-After": "200"}))
    seen = []
    with LLMClient(Endpoint(base_url=stub.base_url), "m") as client:
        stage = Stage("ask", 1, lambda item: item | {"said": client.complete([message(item)]).text})
        with pytest.raises(Interrupted):
            run_pipeline(
                [stage], [{"id": "a"}, {"id": "b"}], tmp_path, config={}, llm=client, on_progress=seen.append,
                should_stop=lambda: any(p.waiting for p in seen),
            )  # fmt: skip
    assert any("answered 429" in (p.waiting or "") for p in seen)
    assert json.loads((tmp_path / "manifest.json").read_text())["counts"]["failed"] == 0


def test_a_second_ctrl_c_waits_for_nobody(stub_server, completion, tmp_path):
    """The server answers only once the build is gone."""
    is_gone = threading.Event()

    def late(*_):
        is_gone.wait(60)
        return completion("late")

    stub = stub_server(late)
    process = start(stub, tmp_path / "build", stderr=subprocess.DEVNULL)
    wait_until(lambda: stub.active >= WORKERS, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    is_gone.set()
    assert kept(tmp_path / "build") == set()
