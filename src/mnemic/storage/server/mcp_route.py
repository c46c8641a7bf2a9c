"""MCP over HTTP, at /mcp in the same app: behind the same keys, without sessions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.datastructures import Headers
from fastapi.exceptions import HTTPException
from mcp.server.transport_security import TransportSecuritySettings

from mnemic.storage.server.access import Access
from mnemic.storage.server.asgi import App, Receive, Scope, Send
from mnemic.storage.server.calling import in_process
from mnemic.storage.server.mcp_server import make_mcp
from mnemic.storage.server.problems import problem

__all__ = ["add_mcp_route"]

_PATH = "/mcp"


def add_mcp_route(app: FastAPI, *, largest_body: int) -> None:
    """Each request is whole by itself, so a key that is revoked opens nothing more, and any server of the store can
    answer the next."""
    server = make_mcp(in_process(app))
    server.streamable_http_app(
        streamable_http_path=_PATH,
        stateless_http=True,
        json_response=True,
        max_request_body_size=largest_body,
        # `access.LocalOnly` guards a server without keys, all routes of it
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    manager = server.session_manager

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with manager.run():
            yield

    app.router.lifespan_context = lifespan
    app.add_route(_PATH, _Guarded(app.state.access, manager.handle_request), include_in_schema=False)


class _Guarded:
    """Lets in who has a key; what they ask is then asked of the REST API with that key."""

    def __init__(self, access: Access, handle: App) -> None:
        self._access, self._handle = access, handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await run_in_threadpool(self._access.enter, Headers(scope=scope).get("authorization"))
        except HTTPException as error:
            await problem(error.status_code, error.detail, headers=error.headers)(scope, receive, send)
            return
        await self._handle(scope, receive, send)
