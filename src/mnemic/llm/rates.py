"""Limits per minute, held in every minute and not just on average."""

from collections import deque
from dataclasses import dataclass

__all__ = ["Entry", "MinuteWindow"]

_MINUTE = 60.0


@dataclass
class Entry:
    """One request's share of a window."""

    at: float
    amount: int
    counts: bool = True


class MinuteWindow:
    """At most `limit` in any 60 seconds, wherever they begin.

    A bucket that refills steadily would let through up to twice its limit in the first minute, and an endpoint that
    counts by the minute would refuse the excess. Not thread-safe: the pool's lock guards it.

    Args:
        limit: None is no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._entries: deque[Entry] = deque()
        self._total = 0

    def ready_at(self, amount: int, now: float) -> float:
        """The first moment from `now` on at which `amount` more fit. What is larger than the limit goes alone."""
        self._forget(now)
        if self.limit is None:
            return now
        excess = self._total + min(amount, self.limit) - self.limit
        when = now
        for entry in self._entries:
            if excess <= 0:
                break
            excess -= entry.amount
            when = entry.at + _MINUTE
        return when

    def add(self, amount: int, now: float) -> Entry:
        entry = Entry(now, amount)
        if self.limit is not None:
            self._entries.append(entry)
            self._total += amount
        return entry

    def correct(self, entry: Entry, amount: int) -> None:
        """Put what was really used in the place of what was expected."""
        if self.limit is not None and entry.counts:
            self._total += amount - entry.amount
            entry.amount = amount

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0].at + _MINUTE <= now:
            oldest = self._entries.popleft()
            oldest.counts = False
            self._total -= oldest.amount
