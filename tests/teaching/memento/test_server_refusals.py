"""What the server says when it cannot answer, and what becomes of requests whose clients leave."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from serving import ASKED, GREEDY, RunningServer, served, within_seconds
from taught_checkpoint import make_checkpoint

from mnemic.teaching.memento.engine_sequences import Failed
from mnemic.teaching.memento.served_model import ServedModel, load_served_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    return load_served_model(str(make_checkpoint(tmp_path_factory.mktemp("made") / "taught", steps=5)))


@pytest.fixture(scope="module")
def running(model: ServedModel) -> Iterator[RunningServer]:
    with served(model) as server:
        yield server


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model": "other"}, 404, "there is no model 'other'"),
        ({"temperature": -1}, 400, "temperature: Input should be greater than or equal to 0; got -1"),
        ({"top_p": 0}, 400, "top_p"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 400, "differ"),
        ({"n": 5}, 400, "n=5"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages.0.content"),
        ({"temprature": 1}, 400, "did you mean 'temperature'"),
        ({"tools": [{}]}, 400, "tools is not supported"),
        ({"frequency_penalty": 1}, 400, "frequency_penalty is not supported"),
        ({"stop": ["a"] * 17}, 400, "stop"),
        ({"mnemic": {"row": True}}, 400, "mnemic.row"),
        ({"messages": [{"role": "user", "content": "x" * 500}]}, 400, "this server takes at most 399"),
    ],
)
def test_wrong_requests_are_explained(running: RunningServer, change: dict[str, Any], status: int, words: str) -> None:
    reply = running.post("/v1/chat/completions", {**GREEDY, "messages": ASKED, **change})
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert words in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_what_asks_for_nothing_is_let_pass(running: RunningServer) -> None:
    harmless = {"user": "me", "frequency_penalty": 0, "logprobs": False, "tools": []}
    harmless["response_format"] = {"type": "text"}
    body = {**GREEDY, "messages": ASKED, "max_tokens": 1, **harmless}
    assert running.post("/v1/chat/completions", body).status_code == 200


def test_wrong_keys_bodies_and_paths(running: RunningServer) -> None:
    with pytest.raises(openai.AuthenticationError, match="this is not the key"):
        running.client("wrong").models.list()
    assert httpx2.get(f"{running.url}/v1/models").status_code == 401
    assert running.client("other").models.list().data[0].id == "taught"
    assert running.post("/v1/chat/completions", b"{").json()["error"]["message"] == "the body is not JSON"
    assert running.post("/v1/chat/completions", b"[]").status_code == 400
    assert running.post("/v1/chat/completions", {}).json()["error"]["param"] == "model"
    assert running.post("/v1/nothing", {}).json()["error"]["code"] == "not_found"
    assert running.get("/v1/completions").status_code == 405
    wrong = running.post("/v1/completions", {**GREEDY, "prompt": [1, 10**6]})
    assert "there is no token 1000000" in wrong.json()["error"]["message"]
    assert running.post("/v1/completions", {**GREEDY, "prompt": ""}).status_code == 400
    with pytest.raises(openai.NotFoundError):
        running.client().models.retrieve("other")


def test_models_health_and_metrics(running: RunningServer) -> None:
    running.ask(max_tokens=2)
    card: Any = running.client().models.retrieve("taught")
    assert card.mnemic["trained_with"] == "memento"
    assert httpx2.get(f"{running.url}/health").json() == {"status": "ok"}
    metrics = running.get("/metrics").json()
    assert metrics["active_requests"] == metrics["resident_tokens"] == metrics["allocated_bytes"] == 0
    assert metrics["generated_tokens"] >= 2
    assert metrics["kv_budget"] == 2000


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_row(
    running: RunningServer, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    feed = running.engine._rows.feed

    def slowly() -> None:
        time.sleep(0.03)
        feed()

    monkeypatch.setattr(running.engine._rows, "feed", slowly)
    finished = running.engine.load().finished_sequences
    body = json.dumps({**GREEDY, "messages": ASKED, "stream": stream}).encode()
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", "Authorization: Bearer secret"]
    head += [f"Content-Length: {len(body)}", "", ""]
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall("\r\n".join(head).encode() + body)
        assert within_seconds(30, lambda: running.engine.load().resident_tokens > 30)
    assert within_seconds(5, lambda: running.engine.load().active_requests == 0), "370 tokens take more than 10 seconds"
    assert running.engine.load().resident_tokens == 0
    assert running.engine.load().finished_sequences == finished, "it was written to its end"


def test_a_full_queue_and_a_stopped_server_say_so(model: ServedModel) -> None:
    body = {**GREEDY, "messages": ASKED}
    replies: list[httpx2.Response] = []
    with served(model, max_waiting=1, start=False) as server:
        waiting = threading.Thread(target=lambda: replies.append(server.post("/v1/chat/completions", body)))
        waiting.start()
        assert within_seconds(30, lambda: server.engine.load().waiting_requests == 1)
        assert server.get("/health").status_code == 503
        with pytest.raises(openai.RateLimitError, match="1 requests are waiting"):
            server.ask()
        server.engine.start()
        server.engine.close()
        waiting.join()
        assert server.post("/v1/chat/completions", body).status_code == 503
    assert replies[0].status_code == 500
    assert "stopped" in replies[0].json()["error"]["message"]


def test_a_failure_in_a_stream_is_told(running: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.engine, "submit", lambda request: request.tell(Failed("it broke")))
    text = running.post("/v1/chat/completions", {**GREEDY, "messages": ASKED, "stream": True}).text
    assert json.loads(text.split("\n\n")[1].removeprefix("data: "))["error"]["message"] == "it broke"
    assert "[DONE]" not in text
