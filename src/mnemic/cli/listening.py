"""Where a server of the command line listens."""

from __future__ import annotations

import socket

from mnemic.errors import UsageError

__all__ = ["base_url", "listening"]


def listening(host: str, port: int) -> socket.socket:
    """A socket, taken before anything slow is loaded: a port that is in use is said at once.

    Args:
        port: 0 for any that is free.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}; name another --host or --port") from error
    return listener


def base_url(listener: socket.socket) -> str:
    """As a URL, without a path."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
