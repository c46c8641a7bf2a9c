"""A server in a thread, with OpenAI's client and plain HTTP to ask it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import uvicorn

from mnemic.teaching.memento.engine import Engine
from mnemic.teaching.memento.served_model import ServedModel
from mnemic.teaching.memento.server import make_app

__all__ = ["ASKED", "GREEDY", "RunningServer", "served", "within_seconds"]

ASKED: list[Any] = [{"role": "user", "content": "abc"}]
GREEDY: dict[str, Any] = {"model": "taught", "temperature": 0}


@dataclass
class RunningServer:
    model: ServedModel
    engine: Engine
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = "secret") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)

    def ask(self, **options: Any) -> Any:
        """A chat completion, of ASKED and greedy unless told otherwise."""
        return self.client().chat.completions.create(**({"messages": ASKED} | GREEDY | options))

    def post(self, path: str, body: Any, key: str = "secret") -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx2.post(f"{self.url}{path}", content=content, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def get(self, path: str, key: str = "secret") -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {key}"})


@contextmanager
def served(model: ServedModel, *, max_waiting: int = 64, start: bool = True) -> Iterator[RunningServer]:
    """Serve on a free port, with the keys "other" and "secret".

    Args:
        start: the engine, too; otherwise requests only wait.
    """
    about = model.about
    engine = Engine(
        model.model,
        model.tokenizer,
        end_ids=model.end_ids,
        markers=about.marker_ids if about else None,
        rules=about.rules if about else None,
        max_batch=4,
        kv_budget=2000,
        max_waiting=max_waiting,
    )
    app = make_app(model, engine, api_keys=["other", "secret"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    if start:
        engine.start()
    thread.start()
    assert within_seconds(30, lambda: server.started)
    yield RunningServer(model, engine, server.servers[0].sockets[0].getsockname()[1])
    engine.close()
    server.should_exit = True
    thread.join()


def within_seconds(seconds: float, happens: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if happens():
            return True
        time.sleep(0.01)
    return False
