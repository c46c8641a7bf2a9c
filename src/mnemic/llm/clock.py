"""Time, in one place, so that tests need not wait for it."""

import time
from threading import Condition

__all__ = ["Clock"]


class Clock:
    """Seconds as the machine counts them."""

    def now(self) -> float:
        """Never goes back; its zero means nothing."""
        return time.monotonic()

    def wall(self) -> float:
        """Since 1970, as the dates in HTTP headers count."""
        return time.time()

    def wait(self, condition: Condition, seconds: float | None) -> None:
        """Wait for `condition`, which is held, to be notified; at most `seconds`."""
        condition.wait(seconds)
