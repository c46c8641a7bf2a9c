"""How worker processes are started, and how the processes of one run part.

Imports nothing heavy, so that workers can be made ready while torch still loads.
"""

import atexit
import multiprocessing
import sys
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

__all__ = ["context", "get_ready", "leave_group_at_exit"]


def context() -> BaseContext:
    """Each run gets a clean process; a fork server, where there is one, imports all once for them."""
    if not _has_fork_server():
        return multiprocessing.get_context("spawn")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["mnemic.training.warm"])
    return server


def get_ready() -> None:
    """Start the fork server now: it imports torch while this process does something else."""
    if _has_fork_server():
        context()
        forkserver.ensure_running()


@cache
def leave_group_at_exit() -> None:
    """Take this process out of torch's process group before the interpreter ends, which its threads may not outlive."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        atexit.register(lambda: distributed.destroy_process_group() if distributed.is_initialized() else None)


def _has_fork_server() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"
