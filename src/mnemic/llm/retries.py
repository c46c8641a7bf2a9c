"""How often and after how long a request that failed is sent again."""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random

__all__ = ["Retries", "read_retry_after"]


@dataclass(frozen=True)
class Retries:
    """Exponential waits with full jitter: any time up to `first`, then up to twice as long, and so on.

    Attributes:
        tries: how often one request is sent at most.
        first, longest: seconds.
        longest_retry_after: what a server may ask for, in seconds; if it asks for more, the call fails at once.
    """

    tries: int = 6
    first: float = 1.0
    longest: float = 60.0
    longest_retry_after: float = 300.0

    def delay(self, failures: int, random: Random) -> float:
        """Seconds to wait after the `failures`-th failure, from 1."""
        return random.uniform(0.0, min(self.longest, self.first * 2 ** (failures - 1)))


def read_retry_after(value: str | None, wall: float) -> float | None:
    """Seconds that a Retry-After header asks for, which gives seconds or a date; None when it cannot be read."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        seconds = date.timestamp() - wall
    return max(0.0, seconds) if seconds < float("inf") else None
