"""An OpenAI-compatible server: HTTP on one side, the engine on the other."""

import asyncio
import hmac
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from mnemic.errors import MnemicError, UsageError
from mnemic.teaching.memento import engine_sequences as engine_side
from mnemic.teaching.memento.decoding import Prompt
from mnemic.teaching.memento.engine import Engine, EngineClosed, PromptTooLong, QueueFull
from mnemic.teaching.memento.engine_sequences import Delta, Event, Failed, Finished
from mnemic.teaching.memento.served_model import ServedModel
from mnemic.teaching.memento.server_replies import Reply, error_body, sse
from mnemic.teaching.memento.server_requests import ChatBody, CompletionBody, Refused, SamplingBody, read_body

__all__ = ["make_app", "run_server"]

_LARGEST_BODY = 64 * 2**20
_LOOK_SECONDS = 0.25
"""How often a client is looked after that might have gone."""


class _Gone(Exception):
    """The client has hung up."""


def make_app(served: ServedModel, engine: Engine, *, api_keys: Sequence[str] = ()) -> FastAPI:
    """
    Args:
        engine: started already; whoever made it closes it.
        api_keys: any of them opens the door; none: it is open.
    """
    app = FastAPI(title="mnemic", docs_url=None, redoc_url=None, openapi_url=None)
    desk = _Desk(served, engine, [key.encode() for key in api_keys])
    routes = {
        "/health": ("GET", desk.health),
        "/metrics": ("GET", desk.metrics),
        "/v1/models": ("GET", desk.models),
        "/v1/models/{name:path}": ("GET", desk.model),
        "/v1/chat/completions": ("POST", desk.chat),
        "/v1/completions": ("POST", desk.completions),
    }
    for path, (method, answer) in routes.items():
        app.add_api_route(path, answer, methods=[method], response_model=None)
    for kind in (MnemicError, HTTPException, 404, 405, Exception):
        app.add_exception_handler(kind, _explained)
    return app


def run_server(app: FastAPI, engine: Engine, listener: socket.socket, announce: Callable[[], None]) -> None:
    """Serve on a socket until SIGINT or SIGTERM; what is being written then ends with an error.

    Args:
        announce: called once connections are taken.
    """
    server = _Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5, ws="none"), engine)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn handles them, and raises them again when it has shut down; but being asked to stop is no failure
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    listener.listen()
    announce()
    server.run([listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._engine.close)  # first, or every open stream would be waited for and then cut
        await super().shutdown(sockets)


class _Desk:
    """Takes requests to the engine and its events back to clients."""

    def __init__(self, served: ServedModel, engine: Engine, keys: Sequence[bytes]) -> None:
        self.served, self.engine, self.keys = served, engine, keys

    async def health(self) -> Response:
        running = self.engine.is_running
        return JSONResponse({"status": "ok" if running else "stopped"}, 200 if running else 503)

    async def metrics(self, request: Request) -> Response:
        self.check_key(request)
        limits = {"kv_budget": self.engine.kv_budget, "max_batch": self.engine.max_batch}
        return JSONResponse({**asdict(self.engine.load()), **limits})

    async def models(self, request: Request) -> Response:
        self.check_key(request)
        return JSONResponse({"object": "list", "data": [self.card()]})

    async def model(self, request: Request, name: str) -> Response:
        self.check_key(request)
        self.check_model(name)
        return JSONResponse(self.card())

    async def chat(self, request: Request) -> Response:
        self.check_key(request)
        body = read_body(ChatBody, await self.body(request))
        self.check_model(body.model)
        prompt, thinking = await asyncio.to_thread(self.served.chat, [message.plain() for message in body.messages])
        return await self.answer(request, body, prompt, thinking=thinking)

    async def completions(self, request: Request) -> Response:
        self.check_key(request)
        body = read_body(CompletionBody, await self.body(request))
        self.check_model(body.model)
        return await self.answer(request, body, await asyncio.to_thread(self.served.text, body.prompt))

    def check_key(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        fits = [hmac.compare_digest(given.strip().encode(), key) for key in self.keys]
        if self.keys and not (scheme.lower() == "bearer" and any(fits)):
            message = "this is not the key" if given else "this server wants its key: Authorization: Bearer ..."
            raise HTTPException(401, message)

    def check_model(self, name: str) -> None:
        if name != self.served.name:
            raise HTTPException(404, f"there is no model '{name}'; this server has '{self.served.name}'")

    def card(self) -> dict[str, Any]:
        about = self.served.about
        known = {} if about is None else {"rules": about.rules.model_dump(), "trained_with": about.trained_with}
        return {
            "id": self.served.name,
            "object": "model",
            "created": self.served.loaded,
            "owned_by": "mnemic",
            "mnemic": {"note": self.served.note, "longest_prompt": self.engine.longest_prompt, **known},
        }

    async def body(self, request: Request) -> Any:
        size = request.headers.get("content-length", "0")
        if size.isdigit() and int(size) > _LARGEST_BODY:
            raise HTTPException(413, f"the body has {size} bytes; at most {_LARGEST_BODY} are read")
        try:
            return await request.json()
        except ValueError:
            raise Refused("the body is not JSON") from None

    async def answer(self, http: Request, body: SamplingBody, prompt: Prompt, *, thinking: bool = False) -> Response:
        sampling, loop = body.sampling(), asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def tell(event: Event) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        asked = engine_side.Request(prompt, sampling, tell, thinking)
        self.engine.submit(asked)
        reply = Reply(self.served.name, isinstance(body, ChatBody), len(prompt.ids), sampling.n, body.mnemic.trace)
        if body.stream:
            usage = body.stream_options is not None and body.stream_options.include_usage
            stream = self._stream(http, asked, events, reply, usage)
            return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        try:
            return JSONResponse(reply.whole([event async for event in _until_ended(http, events, sampling.n)]))
        except _Gone:
            return Response(status_code=499)
        finally:
            self.engine.cancel(asked)

    async def _stream(
        self, http: Request, asked: engine_side.Request, events: asyncio.Queue[Event], reply: Reply, usage: bool
    ) -> AsyncIterator[str]:
        ended = []
        try:
            for chunk in reply.opening():
                yield sse(chunk)
            async for event in _until_ended(http, events, reply.count):
                if isinstance(event, Finished):
                    ended.append(event)
                yield sse(reply.end(event) if isinstance(event, Finished) else reply.delta(event))
            if usage:
                yield sse(reply.closing([event.statistics for event in ended]))
            yield "data: [DONE]\n\n"
        except _Gone:
            return
        except MnemicError as error:
            yield sse(error_body(str(error), "server_error"))
        finally:
            self.engine.cancel(asked)


async def _until_ended(http: Request, events: asyncio.Queue[Event], count: int) -> AsyncIterator[Delta | Finished]:
    """The events of a request until all its continuations have ended.

    Raises:
        _Gone: the client has hung up.
        MnemicError: the request has failed.
    """
    looked = time.monotonic()
    while count:
        if time.monotonic() - looked >= _LOOK_SECONDS:
            looked = time.monotonic()
            if await http.is_disconnected():
                raise _Gone
        try:
            event = await asyncio.wait_for(events.get(), _LOOK_SECONDS)
        except TimeoutError:
            continue
        if isinstance(event, Failed):
            raise MnemicError(event.message)
        count -= isinstance(event, Finished)
        yield event


async def _explained(request: Request, error: Exception) -> Response:
    """An error in OpenAI's shape."""
    message = str(getattr(error, "detail", None) or error) or type(error).__name__
    match error:
        case QueueFull():
            return JSONResponse(error_body(message, "rate_limit_error", code="queue_full"), 429, {"Retry-After": "1"})
        case EngineClosed():
            return JSONResponse(error_body(message, "server_error", code="stopped"), 503)
        case PromptTooLong():
            return JSONResponse(error_body(message, "invalid_request_error", code="context_length_exceeded"), 400)
        case UsageError():
            return JSONResponse(error_body(message, "invalid_request_error", getattr(error, "param", None)), 400)
    status = getattr(error, "status_code", 500)
    kind = "invalid_request_error" if status < 500 else "server_error"
    code = {401: "invalid_api_key", 404: "not_found"}.get(status)
    return JSONResponse(error_body(message, kind, code=code), status)
