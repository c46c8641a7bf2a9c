"""Arrays that grow at their end without being copied each time, and can be read while they do; and things that are
extended as such arrays grow."""

from collections.abc import Callable
from threading import RLock
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grown", "Growing"]

Scalar = TypeVar("Scalar", bound=np.generic)
T = TypeVar("T")


class Growing(Generic[Scalar]):
    """Rows of one shape. What `rows` has given stays as it is: later rows are written behind it."""

    def __init__(self, kind: type[Scalar], width: tuple[int, ...] = ()) -> None:
        self._buffer: NDArray[Scalar] = np.zeros((0, *width), kind)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> NDArray[Scalar]:
        """`[count, *width]`, not to be written to."""
        shown = self._buffer[: self._count]
        shown.flags.writeable = False
        return shown

    def extend(self, rows: NDArray[Scalar]) -> None:
        count = self._count + len(rows)
        if count > len(self._buffer):
            room = count + count // 4 + 8
            grown = np.zeros((room, *self._buffer.shape[1:]), self._buffer.dtype)
            grown[: self._count] = self._buffer[: self._count]
            self._buffer = grown
        self._buffer[self._count : count] = rows
        self._count = count


class Grown:
    """Things derived from rows that only come to the end, by name. Safe to use from threads."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._things: dict[str, tuple[int, Any]] = {}

    def get(self, what: str, count: int, extend: Callable[[T | None, int], T]) -> T:
        """The thing derived from the first `count` rows.

        Args:
            extend: makes it out of what was derived from the rows before a given one (None from no row); it may grow
                that in place, as long as what was shown of it stays.
        """
        with self._lock:
            known, thing = self._things.get(what, (0, None))
            if known > count:  # asked by one who sees the past
                return extend(None, 0)
            if known < count or thing is None:
                self._things.pop(what, None)  # half extended, it must not be found again
                thing = extend(thing, known)
                self._things[what] = (count, thing)
            kept: T = thing
            return kept
