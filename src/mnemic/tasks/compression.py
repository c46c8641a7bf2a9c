"""Compression: random tokens must go through the state of one marker.

Poli et al. 2024 (MAD, arXiv 2403.17844). There a decoder beside the model makes the row again from the marker's state;
here the model does it itself: behind the marker stand questions "which token was the j-th?", and what attention holds
of the tokens before the marker is hidden from them.

Legend: B rows, N tokens with the marker.
"""

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.slices import asking
from mnemic.tasks.tokens import TokenTask

__all__ = ["Compression"]

MARKER, FIRST = 1, 2
_STAYS = 2**31 - 1


class Compression(TokenTask, frozen=True, extra="forbid"):
    """N - 1 random tokens, a marker, then a question for each of the tokens by its number.

    Args:
        length: N.
        ids: different tokens.
        hide: whether attention loses the tokens at the marker; a recurrent state goes on in any case.
    """

    name: ClassVar[str] = "compression"
    version: ClassVar[int] = 1

    length: Annotated[int, Field(ge=2, le=1 << 16)] = 32
    ids: Annotated[int, Field(ge=2)] = 16
    hide: bool = True

    @property
    def vocab_size(self) -> int:
        return FIRST + self.ids + self.length - 1

    @property
    def max_length(self) -> int:
        return 2 * self.length - 1

    @property
    def chance(self) -> float:
        return 1 / self.ids

    def information_bits(self) -> float:
        return (self.length - 1) * math.log2(self.ids)

    def row_bits(self) -> float:
        return self.information_bits()

    def draw(self, rng: Generator, rows: int) -> Examples:
        count = self.length - 1
        tokens = rng.integers(FIRST, FIRST + self.ids, size=(rows, count))
        questions = np.tile(FIRST + self.ids + np.arange(count), (rows, 1))
        input_ids = np.concatenate([tokens, np.full((rows, 1), MARKER), questions], axis=1)
        asked, age_rank = self.length + np.arange(count), count - 1 - np.arange(count)
        found = asking(input_ids, asked, tokens, distance=self.length, load=count, age_rank=age_rank)
        if not self.hide:
            return found
        until = np.where(np.arange(self.max_length) < count, self.length, _STAYS)
        return found.replace(visible_until=np.tile(until, (rows, 1)))

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            for t in range(row.index(MARKER) + 1, len(row)):
                labels[r, t] = row[row[t] - FIRST - self.ids]
        return labels

    def word(self, token: int) -> str:
        if token < FIRST:
            return "M" if token == MARKER else "."
        which = token - FIRST
        return f"t{which}" if which < self.ids else f"#{which - self.ids}"

    def loads(self) -> list[TaskConfig]:
        """Shorter rows; longer ones need questions that this vocabulary has not."""
        return [self.replace(length=self.length // n) for n in (2, 4) if self.length // n >= 2]
