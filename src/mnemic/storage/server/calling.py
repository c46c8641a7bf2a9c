"""Asking the REST API from Python: in this process, or over the network."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx2

from mnemic.errors import MnemicError, UsageError

__all__ = ["Rest", "in_process", "over_network", "segment"]

_SECONDS = 120.0


class Rest:
    """The API as awaited calls; errors of the server are raised with what it said.

    Args:
        client: knows where the server is; closed by `close`.
    """

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """The JSON that the server answers.

        Args:
            key: the header Authorization of who asks, in the place of the client's own.
            query: those that are None are left out.

        Raises:
            UsageError: the server refused the request.
            MnemicError: it cannot be reached, or failed.
        """
        headers = {} if key is None else {"Authorization": key}
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            reply = await self._client.request(method, path, headers=headers, json=body, params=given)
        except httpx2.InvalidURL as error:
            raise UsageError(f"{method} {path:.80}: {error}") from None
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise MnemicError(f"the store's server at {self._client.base_url} cannot be reached: {reason}") from error
        if reply.is_success:
            return reply.json()
        detail = _detail(reply)
        raise UsageError(detail) if reply.is_client_error else MnemicError(detail)

    async def close(self) -> None:
        await self._client.aclose()


def _detail(reply: httpx2.Response) -> str:
    try:
        return str(reply.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {reply.status_code} {reply.reason_phrase}, which is no answer of mnemic's"


def in_process(app: Any) -> Rest:
    """Of an app in this process, without a network."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return Rest(httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=None))


def over_network(url: str, key: str | None) -> Rest:
    """Of a server elsewhere.

    Args:
        key: what `mnemic keys add` gave; None where the server asks for none.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"url '{url:.80}': must begin with http:// or https://")
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return Rest(httpx2.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=_SECONDS))


def segment(text: str) -> str:
    """A part of a path, whatever is in it."""
    return quote(text, safe="")
