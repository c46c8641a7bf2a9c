"""Ctrl-C and the wish of a job scheduler, as a flag that is looked at between two pieces of work."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["asked_to_stop_by_signal"]


@contextmanager
def asked_to_stop_by_signal() -> Iterator[Callable[[], bool]]:
    """The first SIGINT or SIGTERM is noted; the second is a KeyboardInterrupt.

    Handlers that the program has set itself are left alone, and so is everything outside the main thread.
    """
    noted = threading.Event()

    def note(*_: object) -> None:
        if noted.is_set():
            raise KeyboardInterrupt
        noted.set()

    before = {}
    if threading.current_thread() is threading.main_thread():
        unhandled = (signal.default_int_handler, signal.SIG_DFL)
        mine = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) in unhandled]
        before = {number: signal.signal(number, note) for number in mine}
    try:
        yield noted.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
