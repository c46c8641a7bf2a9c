"""Blocks of random digits, each summed up by the running sum of all digits so far.

Nothing in a block can be predicted, and the running sum says little of the single digits: what a memento's keys and
values still tell about a block came by them, not by the text. Source: the toy of Kontonis et al. 2026
(arXiv 2604.09852), its section on probing.

Legend: B rows, N blocks, D digits of a block, S digits of the sum.
"""

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.rounds import BLOCK_END, BLOCK_START, BOS, DIGIT, EOS, SUMMARY_END, SUMMARY_START
from mnemic.tasks.tokens import TokenTask

__all__ = ["RunningSum"]

_STAYS = 2**31 - 1


class RunningSum(TokenTask, frozen=True, extra="forbid"):
    """BOS then N times [ d1 … dD ] ( sum ) then EOS; [ ] ( ) are the four markers, the sum is written in S digits.

    Args:
        blocks: N.
        digits: D.
        hide: rows in which attention loses each block when its memento ends (MEMENTO's second stage).
    """

    name: ClassVar[str] = "running-sum"
    version: ClassVar[int] = 1

    blocks: Annotated[int, Field(ge=1, le=100)] = 10
    digits: Annotated[int, Field(ge=1, le=100)] = 5
    hide: bool = False

    @property
    def sum_digits(self) -> int:
        return len(str(9 * self.digits * self.blocks))

    @property
    def block_length(self) -> int:
        return self.digits + self.sum_digits + 4

    @property
    def vocab_size(self) -> int:
        return DIGIT + 10

    @property
    def max_length(self) -> int:
        return 2 + self.blocks * self.block_length

    @property
    def chance(self) -> float:
        return 0.1

    def information_bits(self) -> float:
        """The largest sum that must be carried from block to block."""
        return math.log2(1 + 9 * self.digits * self.blocks)

    def row_bits(self) -> float:
        return self.blocks * self.digits * math.log2(10)

    def block_start(self, block: int) -> int:
        """Where the marker that opens a block stands; blocks count from 0."""
        return 1 + block * self.block_length

    def memento(self, block: int) -> slice:
        """A block's memento with its two markers."""
        start = self.block_start(block) + self.digits + 2
        return slice(start, start + self.sum_digits + 2)

    def draw(self, rng: Generator, rows: int) -> Examples:
        digits = rng.integers(10, size=(rows, self.blocks, self.digits))
        sums = digits.sum(axis=2).cumsum(axis=1)
        powers = 10 ** np.arange(self.sum_digits - 1, -1, -1)
        body = np.empty((rows, self.blocks, self.block_length), np.int64)
        end = self.digits + 1
        body[:, :, 0], body[:, :, end], body[:, :, end + 1], body[:, :, -1] = (
            BLOCK_START, BLOCK_END, SUMMARY_START, SUMMARY_END,
        )  # fmt: skip
        body[:, :, 1:end] = DIGIT + digits
        body[:, :, end + 2 : -1] = DIGIT + sums[:, :, None] // powers % 10
        ends = np.full((rows, 1), BOS), np.full((rows, 1), EOS)
        ids = np.concatenate([ends[0], body.reshape(rows, -1), ends[1]], axis=1)
        place = (np.arange(ids.shape[1]) - 1) % self.block_length
        inside = (np.arange(ids.shape[1]) >= 1) & (np.arange(ids.shape[1]) < ids.shape[1] - 1)
        asks = inside & (place > end) & (place < self.block_length - 2)
        labels = np.where(asks, np.roll(ids, -1, axis=1), UNASKED)
        block = np.where(asks, (np.arange(ids.shape[1]) - 1) // self.block_length + 1, 0)
        slices = {"block": np.broadcast_to(block, ids.shape).astype(np.int32)}
        return Examples(ids, labels, labels != UNASKED, slices, visible_until=self._visible_until(ids))

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            total = 0
            for block in range(self.blocks):
                start = self.block_start(block)
                total += sum(token - DIGIT for token in row[start + 1 : start + 1 + self.digits])
                for place, digit in enumerate(str(total).zfill(self.sum_digits)):
                    labels[r, start + self.digits + 2 + place] = DIGIT + int(digit)
        return labels

    def word(self, token: int) -> str:
        names = {0: ".", BOS: "BOS", EOS: "EOS", BLOCK_START: "[", BLOCK_END: "]", SUMMARY_START: "(", SUMMARY_END: ")"}
        return names.get(token, str(token - DIGIT))

    def loads(self) -> list[TaskConfig]:
        """Half as many blocks; more of them may need longer sums, which is another task."""
        return [self.replace(blocks=self.blocks // 2)] if self.blocks > 1 else []

    def _visible_until(self, ids: IntArray) -> IntArray | None:
        if not self.hide:
            return None
        until = np.full(ids.shape, _STAYS, np.int64)
        for block in range(self.blocks):
            start = self.block_start(block)
            until[:, start + 1 : start + 1 + self.digits] = start + self.block_length - 1
        return until
