"""How worker processes are started; imports nothing heavy, so that they can be made ready while torch still loads."""

import multiprocessing
import sys
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

__all__ = ["context", "get_ready"]


def context() -> BaseContext:
    """Each run gets a clean process; a fork server, where there is one, imports torch once for all of them."""
    if not _has_fork_server():
        return multiprocessing.get_context("spawn")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["mnemic.training.worker"])
    return server


def get_ready() -> None:
    """Start the fork server now: it imports torch while this process does something else."""
    if _has_fork_server():
        context()
        forkserver.ensure_running()


def _has_fork_server() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"
