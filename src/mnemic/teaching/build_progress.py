"""What a build says while it runs."""

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mnemic.llm.protocol import Metered

__all__ = ["BuildProgress", "Meter", "OnProgress"]

_CALL_SECONDS = 0.2
_FILE_SECONDS = 1.0


@dataclass(frozen=True)
class BuildProgress:
    """Where a build is.

    Attributes:
        items: how many there are, None while that is not known.
        done: those with an outcome: ok, dropped or failed.
        kept: those of `done` that an earlier run had finished.
        calls, cached: replies that were paid for, and that were not.
        hit_rate: share of the replies that were not paid for, None before the first.
        cost: None where the model's price is not known.
        eta_seconds: None while it cannot be said.
        waiting: why no call is being made, None while some are.
    """

    items: int | None
    done: int
    ok: int
    dropped: int
    failed: int
    kept: int
    seconds: float
    items_per_second: float
    calls: int = 0
    cached: int = 0
    hit_rate: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    eta_seconds: float | None = None
    waiting: str | None = None


OnProgress = Callable[[BuildProgress], None]


class Meter:
    """Says where the build is: to a callback a few times a second, to progress.json every second.

    Args:
        llm: the client behind the stages; its totals are counted from now on.
    """

    def __init__(self, path: Path, items: int | None, llm: Metered | None, on_progress: OnProgress | None) -> None:
        self.items = items
        self._path, self._llm, self._on_progress = path, llm, on_progress
        self._before = llm.totals if llm is not None else None
        self._began = time.monotonic()
        self._called_at = self._written_at = float("-inf")

    def tick(self, outcomes: "Counter[str]", kept: int, *, last: bool = False) -> None:
        """
        Args:
            outcomes: how many items are ok, dropped, failed.
            last: say it whatever the time.
        """
        now = time.monotonic()
        is_called = self._on_progress is not None and (last or now - self._called_at >= _CALL_SECONDS)
        is_written = last or now - self._written_at >= _FILE_SECONDS
        if not (is_called or is_written):
            return
        progress = self._progress(outcomes, kept, now - self._began)
        if is_written:
            self._written_at = now
            self._write(progress)
        if is_called and self._on_progress is not None:
            self._called_at = now
            self._on_progress(progress)

    def _write(self, progress: BuildProgress) -> None:
        """Not being able to say where the build is, on a full disk, is no reason to end it."""
        aside = self._path.with_name(f".{self._path.name}.aside")
        with suppress(OSError):
            aside.write_text(json.dumps(asdict(progress)), encoding="utf-8")
            aside.replace(self._path)

    def _progress(self, outcomes: "Counter[str]", kept: int, seconds: float) -> BuildProgress:
        done = sum(outcomes.values())
        rate = (done - kept) / seconds if seconds > 0 else 0.0
        eta = (self.items - done) / rate if self.items is not None and rate > 0 else None
        where = (self.items, done, outcomes["ok"], outcomes["dropped"], outcomes["failed"], kept, seconds, rate)
        if self._llm is None or self._before is None:
            return BuildProgress(*where, eta_seconds=eta)
        now, was = self._llm.totals, self._before
        calls, cached = now.requests - was.requests, now.cached - was.cached
        return BuildProgress(
            *where,
            calls=calls,
            cached=cached,
            hit_rate=cached / (calls + cached) if calls + cached else None,
            prompt_tokens=now.prompt_tokens - was.prompt_tokens,
            completion_tokens=now.completion_tokens - was.completion_tokens,
            cost=None if now.cost is None else now.cost - (was.cost or 0.0),
            eta_seconds=eta,
            waiting=self._llm.waiting,
        )
