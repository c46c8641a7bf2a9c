"""Streamed documents packed into windows of tokens, row by row, from any row on.

Legend: B rows, T tokens a model reads, L lanes.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from mnemic.errors import UsageError
from mnemic.tasks.base import Examples, IntArray
from mnemic.tasks.streams.base import Cursor, DocumentSource

__all__ = ["WindowReader"]

_BETWEEN = b"\n\n"
_PATIENCE = 100_000  # documents in a row without text, before a lane is called empty

Encode = Callable[[bytes], IntArray]


class WindowReader:
    """Training rows of a stream, one after the other: row i is the next window of lane i mod L.

    A lane's documents follow each other with a blank line between, and are cut every T tokens; each window brings the
    token after it too. What is read depends on source, tokenizer, T and seed, on nothing else.

    Args:
        encode: UTF-8 -> [N] ids.
        length: T.
        first: the row to begin with.
        stride: rows from one to the next of this reader, for those that share the rows among them.
        state: of a reader that was put down at row `first`, or of several, whose lanes are put together; without it,
            the rows before `first` are read and passed over.
    """

    def __init__(
        self,
        source: DocumentSource,
        encode: Encode,
        length: int,
        seed: int,
        *,
        first: int = 0,
        stride: int = 1,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.row, self.stride, self.lanes = first, stride, source.lanes
        shares_lanes = self.lanes % stride == 0
        mine = range(first % stride, self.lanes, stride) if shares_lanes else range(self.lanes)
        self.step = stride if shares_lanes else 1  # a lane is in step only if none of its rows is left out
        self._lanes = {
            lane: _Lane(source, encode, length, seed, lane, None if state is None else state[str(lane)])
            for lane in mine
        }
        if state is None:
            for row in range(first):
                if row % self.lanes in self._lanes:
                    self._lanes[row % self.lanes].skip()
        else:
            self._step_over(first - first % stride, first)

    def take(self, rows: int) -> Examples:
        """The next rows of this reader: input_ids, labels [B, T]."""
        windows = []
        for _ in range(rows):
            windows.append(self._lanes[self.row % self.lanes].next())
            self._step_over(self.row + 1, self.row + self.stride)
            self.row += self.stride
        window = np.stack(windows).astype(np.int64)
        return Examples(window[:, :-1], window[:, 1:].copy(), np.ones((rows, window.shape[1] - 1), np.bool_))

    def state(self) -> dict[str, Any]:
        """JSON; a reader made with it goes on, with the rows shared among as many as one likes."""
        return {str(lane): at.state() for lane, at in self._lanes.items()}

    def _step_over(self, start: int, stop: int) -> None:
        """Pass over the rows of others that come from lanes of this reader."""
        if self.step == 1:
            for row in range(start, stop):
                self._lanes[row % self.lanes].skip()


class _Lane:
    """The windows of one lane; tokens wait with the cursor of their document."""

    def __init__(
        self, source: DocumentSource, encode: Encode, length: int, seed: int, lane: int, state: dict[str, Any] | None
    ) -> None:
        self.encode, self.length, self.lane = encode, length, lane
        cursor: Cursor | None = None if state is None else state["cursor"]
        self.used: int = 0 if state is None else state["used"]  # tokens of the first waiting document
        self.documents = source.read(lane, seed, cursor)
        self.waiting: deque[tuple[Cursor, IntArray]] = deque()
        self.there = -self.used  # tokens that wait

    def next(self) -> IntArray:
        """[T + 1]"""
        self._fill(self.length + 1)
        waiting = np.concatenate([tokens for _, tokens in self.waiting])
        window = waiting[self.used : self.used + self.length + 1]
        self._drop(self.length)
        return window

    def skip(self) -> None:
        self._fill(self.length + 1)
        self._drop(self.length)

    def state(self) -> dict[str, Any]:
        self._fill(1)
        return {"cursor": self.waiting[0][0], "used": self.used}

    def _drop(self, count: int) -> None:
        self.used, self.there = self.used + count, self.there - count
        while self.waiting and self.used >= len(self.waiting[0][1]):
            self.used -= len(self.waiting.popleft()[1])

    def _fill(self, count: int) -> None:
        """Wait for documents until there are `count` tokens."""
        empty = 0
        while self.there < count:
            document = next(self.documents)
            if document.split == "train" and document.text:
                empty, tokens = 0, self.encode(document.text + _BETWEEN)
                self.waiting.append((document.cursor, tokens))
                self.there += len(tokens)
            elif (empty := empty + 1) == _PATIENCE:
                raise UsageError(f"lane {self.lane} of the text has {_PATIENCE:,} documents on end without any text")
