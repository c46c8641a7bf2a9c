"""A chat-completion server in a thread, which answers as a test tells it and remembers what it was asked."""

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# a slow machine fails no test, and where a change is checked the same examples are drawn every time
settings.register_profile(
    "mnemic", deadline=None, derandomize=bool(os.environ.get("CI")), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mnemic")


@dataclass(frozen=True)
class Answer:
    """What the server sends. `cut` promises more bytes than come; `hang_up` closes without a word."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    hang_up: bool = False


@dataclass
class Stub:
    """Attributes:
    answer: of the number of the request, from 0, and its body.
    bodies, headers: of all requests, in the order in which they came.
    answered: bodies of those that got 200, noted before the answer is sent.
    most_at_once: the largest number of requests that were being answered at one time.
    """

    answer: Callable[[int, dict[str, Any]], Answer]
    base_url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answered: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    active: int = 0
    lock: Any = field(default_factory=threading.Lock)


def said(content: Any, usage: tuple[int, int] | None = (10, 5), finish: str = "stop", **answer: Any) -> Answer:
    """A proper chat completion."""
    text = content if isinstance(content, str) else json.dumps(content)
    body: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return Answer(body=json.dumps(body), **answer)


def handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with stub.lock:
                number = len(stub.bodies)
                stub.bodies.append(body)
                stub.headers.append({k.lower(): v for k, v in self.headers.items()} | {"path": self.path})
                stub.active += 1
                stub.most_at_once = max(stub.most_at_once, stub.active)
            try:
                self.send(stub.answer(number, body), body)
            except OSError:
                self.close_connection = True  # the client went away

        def send(self, answer: Answer, body: dict[str, Any]) -> None:
            time.sleep(answer.delay)
            with stub.lock:
                stub.active -= 1
                if answer.status == 200:
                    stub.answered.append(body)
            if answer.hang_up:
                self.close_connection = True
                return
            content = answer.body.encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content) + 50 * answer.cut))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection |= answer.cut

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture
def stub_server():
    """Starts servers: `stub_server(answer) -> Stub`."""
    servers = []

    def start(answer):
        stub = Stub(answer)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(stub))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        stub.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        servers.append(server)
        return stub

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def answer():
    """`answer(status=…, body=…)`: any HTTP answer."""
    return Answer


@pytest.fixture
def completion():
    """`completion(content)`: a proper chat completion."""
    return said
