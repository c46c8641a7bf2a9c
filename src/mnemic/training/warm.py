"""What the fork server imports before the first run, so that no run has to: the worker, and the house's mixers."""

from contextlib import suppress

from mnemic.catalogue import SYSTEMS, resolve
from mnemic.training import worker

__all__ = ["worker"]

for _system in SYSTEMS.values():
    if _system.place in ("state", "context", "weights"):
        with suppress(Exception):  # a run that names it says what is wrong with it
            resolve(_system.target)
