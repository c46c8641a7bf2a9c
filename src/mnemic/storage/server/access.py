"""Whose memory a request is about: its key says so, and nothing else. Without keys, only this machine is let in."""

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.datastructures import Headers
from fastapi.exceptions import HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mnemic.storage.server.asgi import App, Receive, Scope, Send
from mnemic.storage.server.problems import problem
from mnemic.storage.server.stores import Stores
from mnemic.storage.store import MemoryStore

__all__ = ["Access", "LocalOnly", "Memory"]


class Access:
    """Who may have what.

    Args:
        tenant: whose memory everybody has who reaches the server, as on a machine of one user; None: keys decide.
    """

    def __init__(self, stores: Stores, tenant: str | None = None) -> None:
        self.stores, self.tenant = stores, tenant

    def enter(self, authorization: str | None) -> tuple[str, str]:
        """The tenant, and who is named in the history.

        Args:
            authorization: the header of that name.

        Raises:
            HTTPException: 401, the key opens nothing.
        """
        if self.tenant is not None:
            return self.tenant, "local"
        scheme, _, given = (authorization or "").partition(" ")
        key = self.stores.who_has(given.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            reason = "this key opens nothing" if authorization else "send a key: Authorization: Bearer mnemic_…"
            raise HTTPException(401, reason, {"WWW-Authenticate": "Bearer"})
        return key.tenant, f"key {key.id} ({key.name})"


_bearer = HTTPBearer(auto_error=False, description="a key that `mnemic keys add` made; it says whose memory it is")


def _memory(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> MemoryStore:
    access: Access = request.app.state.access
    tenant, actor = access.enter(request.headers.get("authorization"))
    return access.stores.of(tenant).acting_as(actor)


Memory = Annotated[MemoryStore, Depends(_memory)]


class LocalOnly:
    """Where no key is asked for, a web page that the user happens to visit must not reach the memory: neither by a
    name of its own that leads here (the Host is not this machine), nor as another origin."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host, origin = headers.get("host", ""), headers.get("origin")
            if not _is_here(f"//{host}"):
                detail = f"Host '{host:.80}' is not this machine; a server without keys answers to 127.0.0.1 alone"
                await problem(403, detail)(scope, receive, send)
                return
            if origin is not None and not (_is_here(origin) and urlsplit(origin).netloc == host):
                detail = f"Origin '{origin:.80}' is another site; a server without keys serves its own page alone"
                await problem(403, detail)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_here(url: str) -> bool:
    try:
        name = urlsplit(url).hostname
        return name == "localhost" or (name is not None and ip_address(name).is_loopback)
    except ValueError:
        return False
