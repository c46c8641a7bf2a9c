"""MCP on standard input and output, for programs that start their memory as a process of their own."""

import asyncio

from mnemic.storage.server.calling import Rest
from mnemic.storage.server.mcp_server import make_mcp

__all__ = ["speak_mcp"]


def speak_mcp(rest: Rest) -> None:
    """Until standard input ends.

    Args:
        rest: the API that the tools ask; closed at the end.

    Raises:
        MnemicError: the API does not answer, or takes no key; said before a client connects.
    """

    async def speak() -> None:
        try:
            await rest.ask("GET", "/v1/stats")
            await make_mcp(rest).run_stdio_async()
        finally:
            await rest.close()

    asyncio.run(speak())
