"""What a build of teaching data shows while it runs: a live line on a terminal, lines elsewhere; all on stderr."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mnemic.llm import Price
from mnemic.teaching.build_progress import BuildProgress
from mnemic.teaching.memento.estimate import Estimate

__all__ = ["Display", "described"]

_LINE_SECONDS = 10.0


class Display:
    """Called with every progress of a build; a context, because the live line has to be taken down.

    Args:
        items: what is worked on.
    """

    def __init__(self, items: str = "traces") -> None:
        self._items = items
        self._console = Console(stderr=True, highlight=False)
        terminal = self._console.is_terminal
        self._live = Live(console=self._console, auto_refresh=False, transient=True) if terminal else None
        self._said_at = time.monotonic()
        self._last: BuildProgress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def introduce(self, source: str, output: Path, teacher: str, counter: str) -> None:
        self._say(f"{source}  →  {output}", style="bold")
        self._say(f"teacher: {teacher}; tokens counted by {counter}")

    def expect(self, expected: Estimate, count: int | None, price: Price | None) -> None:
        """Say what the build is likely to ask of its teacher."""
        which = "" if count is not None else "; for these only, the length of the source is not known"
        self._say(
            f"{expected.traces:,} traces ({expected.unusable:,} more cannot be used){which}: "
            f"{expected.sentences:,} sentences, {_range(expected.blocks)} blocks"
        )
        cost = expected.cost(price) if price is not None else None
        spent = f", cost {cost[0]:,.2f} to {cost[1]:,.2f}" if cost is not None else ""
        self._say(
            f"expected: {_range(expected.calls)} calls, {_range(expected.prompt_tokens)} tokens sent, "
            f"{_range(expected.completion_tokens)} received{spent}; replies that are kept cost nothing"
        )

    def start(self) -> None:
        """Put up the live line, where there is a terminal."""
        if self._live is not None:
            self._live.start()

    def __call__(self, progress: BuildProgress) -> None:
        self._last = progress
        if self._live is not None:
            self._live.update(Text(described(progress, self._items)), refresh=True)
        elif time.monotonic() - self._said_at >= _LINE_SECONDS:
            self._said_at = time.monotonic()
            self._say(described(progress, self._items))

    def close(self) -> None:
        """Take the live line down and leave the last word standing."""
        if self._live is not None:
            self._live.stop()
        if self._last is not None:
            self._say(described(self._last, self._items))
            self._last = None

    def _say(self, line: str, style: str = "") -> None:
        self._console.print(Text(line, style=style), soft_wrap=True)


def described(progress: BuildProgress, items: str = "traces") -> str:
    """Progress in one line."""
    of = f" of {progress.items:,}" if progress.items is not None else ""
    parts = [f"{progress.done:,}{of} {items}"]
    parts += [f"{n:,} {what}" for n, what in ((progress.dropped, "dropped"), (progress.failed, "failed")) if n]
    parts += [f"{progress.kept:,} kept from before"] if progress.kept else []
    if progress.calls or progress.cached:
        parts.append(
            f"{progress.calls:,} calls, {progress.cached:,} replies from the cache"
            if progress.cached
            else f"{progress.calls:,} calls"
        )
        parts.append(f"{progress.prompt_tokens:,} tokens sent, {progress.completion_tokens:,} received")
    if progress.cost is not None:
        parts.append(f"cost {progress.cost:,.4f}")
    if progress.eta_seconds:
        parts.append(f"about {_duration(progress.eta_seconds)} left")
    if progress.waiting:
        parts.append(f"waiting: {progress.waiting}")
    return ", ".join(parts)


def _range(values: tuple[int, int]) -> str:
    low, high = values
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
