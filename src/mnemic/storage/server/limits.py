"""How much of a request is read."""

from fastapi.datastructures import Headers
from fastapi.exceptions import HTTPException

from mnemic.storage.server.asgi import App, Message, Receive, Scope, Send
from mnemic.storage.server.problems import problem

__all__ = ["LARGEST_BODY", "BodyLimit"]

LARGEST_BODY = 16 * 2**20
_DRAINED = 8  # times the limit that is read and thrown away, so that a client gets to the answer


class BodyLimit:
    """Answers 413 to a body that is larger than `most` bytes, as it says or as it comes."""

    def __init__(self, app: App, most: int = LARGEST_BODY) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        detail = f"the body has more than {self._most:,} bytes; send fewer events at once"
        size = Headers(scope=scope).get("content-length", "")
        if size.isdigit() and int(size) > self._most:
            await self._drain(receive)
            await problem(413, detail, headers={"Connection": "close"})(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise HTTPException(413, detail)
            return message

        await self._app(scope, counted, send)

    async def _drain(self, receive: Receive) -> None:
        read = 0
        while read <= _DRAINED * self._most:
            message = await receive()
            read += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body"):
                return
