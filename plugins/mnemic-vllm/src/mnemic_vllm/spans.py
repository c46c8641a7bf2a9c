"""Logical and physical positions: a token keeps its place in the stream, its key moves down when others leave."""

from bisect import bisect_left, bisect_right

__all__ = ["EvictedSpans"]


class EvictedSpans:
    """The logical positions that have left one request's cache, as sorted spans that neither touch nor overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._before: list[int] = []  # positions evicted before each span

    @property
    def total(self) -> int:
        """Positions that have left."""
        return self._before[-1] + self._ends[-1] - self._starts[-1] if self._starts else 0

    def spans(self) -> list[tuple[int, int]]:
        return list(zip(self._starts, self._ends, strict=True))

    def __contains__(self, position: int) -> bool:
        index = bisect_right(self._starts, position) - 1
        return index >= 0 and position < self._ends[index]

    def add(self, start: int, end: int) -> None:
        """Positions [start, end) leave; those of them that left before stay gone."""
        if start >= end:
            return
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last], self._ends[first:last] = [start], [end]
        del self._before[first:]
        for index in range(first, len(self._starts)):
            before = self._before[index - 1] + self._ends[index - 1] - self._starts[index - 1] if index else 0
            self._before.append(before)

    def evicted_before(self, position: int) -> int:
        """Positions below this one that have left."""
        index = bisect_right(self._starts, position) - 1
        if index < 0:
            return 0
        return self._before[index] + min(position, self._ends[index]) - self._starts[index]

    def physical(self, position: int) -> int:
        """The slot that holds a logical position.

        Raises:
            KeyError: it has left.
        """
        if position in self:
            raise KeyError(position)
        return position - self.evicted_before(position)

    def logical(self, slot: int) -> int:
        """The position whose key a slot holds."""
        low, high = 0, len(self._starts)
        while low < high:  # the spans whose start lies at or below the slot once those before have left
            middle = (low + high) // 2
            if self._starts[middle] - self._before[middle] <= slot:
                low = middle + 1
            else:
                high = middle
        return slot if low == 0 else slot + self._before[low - 1] + self._ends[low - 1] - self._starts[low - 1]
