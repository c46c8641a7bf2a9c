"""Arrays that grow at their end without being copied each time, and can be read while they do."""

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Growing"]

Scalar = TypeVar("Scalar", bound=np.generic)


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
            grown = np.zeros((max(count, 2 * len(self._buffer)), *self._buffer.shape[1:]), self._buffer.dtype)
            grown[: self._count] = self._buffer[: self._count]
            self._buffer = grown
        self._buffer[self._count : count] = rows
        self._count = count
