"""When to stop trying altogether."""

from threading import Lock

from mnemic.llm.clock import Clock
from mnemic.llm.errors import CircuitOpen

__all__ = ["Circuit"]


class Circuit:
    """Opens, for good, when `limit` calls failed in a row, or when for `patience` seconds every try failed.

    The first is for an endpoint that refuses or answers nonsense, the second for one that answers 429 for minutes:
    a single call waits long between its tries, and twenty of them would take an hour to fail.
    """

    def __init__(self, limit: int, patience: float, clock: Clock) -> None:
        self.limit, self.patience = limit, patience
        self._clock = clock
        self._lock = Lock()
        self._failed_calls = 0
        self._failing_since: float | None = None
        self._why: str | None = None

    def check(self) -> None:
        """Raises CircuitOpen when it is open."""
        with self._lock:
            if self._why is not None:
                raise CircuitOpen(f"{self._why}; no more calls are made")

    def answered(self) -> None:
        """A request was answered, whatever the answer is worth."""
        with self._lock:
            self._failing_since = None

    def try_failed(self, reason: str) -> None:
        with self._lock:
            now = self._clock.now()
            if self._failing_since is None:
                self._failing_since = now
            elif now - self._failing_since >= self.patience:
                self._open(f"nothing was answered for {now - self._failing_since:.0f} s: {reason}")

    def call_succeeded(self) -> None:
        with self._lock:
            self._failed_calls = 0

    def call_failed(self, reason: str) -> None:
        with self._lock:
            self._failed_calls += 1
            if self._failed_calls >= self.limit:
                self._open(f"{self._failed_calls} calls failed one after another, the last with: {reason}")

    def _open(self, why: str) -> None:
        self._why = self._why or why
