"""Serving an app until it is told to stop."""

import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

__all__ = ["run_server"]

_GRACE = 20  # seconds that requests may take to end once the server is told to stop


def run_server(app: FastAPI, listener: socket.socket, announce: Callable[[], None]) -> None:
    """Serve on a socket until SIGINT or SIGTERM; what was begun is finished and answered first.

    Args:
        announce: called once connections are taken.
    """
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE, ws="none", access_log=False)
    server = uvicorn.Server(config)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn handles them, and raises them again when it has shut down; but being asked to stop is no failure
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    listener.listen(128)
    announce()
    server.run([listener])
