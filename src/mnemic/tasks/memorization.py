"""Memorisation: one fixed list of facts, which only the weights can hold.

Poli et al. 2024 (MAD, arXiv 2403.17844).

Legend: B rows, N tokens of a row, K keys.
"""

import math
from functools import cache
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.sampling import block_generator
from mnemic.tasks.slices import asking
from mnemic.tasks.tokens import TokenTask

__all__ = ["Memorization"]

MARKER, FIRST = 1, 2


class Memorization(TokenTask, frozen=True, extra="forbid"):
    """Pairs (key, marker); asked at each marker is the value that the key has in all rows of all splits.

    Args:
        length: N, two for every key.
        vocab: ids C; beside 0 and the marker one half are keys, the other values.
        map_seed: which list of facts.
    """

    name: ClassVar[str] = "memorization"
    version: ClassVar[int] = 1

    length: Annotated[int, Field(ge=2, le=1 << 20, multiple_of=2)] = 32
    vocab: Annotated[int, Field(ge=6, le=1 << 24)] = 256
    map_seed: Annotated[int, Field(ge=0)] = 0

    @property
    def vocab_size(self) -> int:
        return self.vocab

    @property
    def max_length(self) -> int:
        return self.length

    @property
    def chance(self) -> float:
        return 1 / self._values

    def information_bits(self) -> float:
        """None of a row; `weight_bits` must be in the weights."""
        return 0.0

    def weight_bits(self) -> float:
        """Of the whole list."""
        return self._keys * math.log2(self._values)

    def row_bits(self) -> float:
        return self.length // 2 * math.log2(self._keys)

    def facts(self) -> IntArray:
        """[K] the id of each key's value; key k has the id 2 + k."""
        return _facts(self._keys, self._values, self.map_seed)

    def draw(self, rng: Generator, rows: int) -> Examples:
        keys = rng.integers(self._keys, size=(rows, self.length // 2))
        input_ids = np.full((rows, self.length), MARKER)
        input_ids[:, 0::2] = FIRST + keys
        return asking(input_ids, np.arange(1, self.length, 2), self.facts()[keys])

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        values = self.facts().tolist()
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            for t in range(1, len(row), 2):
                labels[r, t] = values[row[t - 1] - FIRST]
        return labels

    def word(self, token: int) -> str:
        if token < FIRST:
            return "M" if token == MARKER else "."
        key = token - FIRST
        return f"k{key}" if key < self._keys else f"v{key - self._keys}"

    def loads(self) -> list[TaskConfig]:
        """The same facts, asked in rows of twice and four times the length."""
        return [self.replace(length=n * self.length) for n in (2, 4) if n * self.length <= 1 << 20]

    @property
    def _keys(self) -> int:
        return (self.vocab - FIRST) // 2

    @property
    def _values(self) -> int:
        return self.vocab - FIRST - self._keys


@cache
def _facts(keys: int, values: int, seed: int) -> IntArray:
    drawn = block_generator(f"memorization {keys} {values} {seed}", 0).integers(values, size=keys)
    found = FIRST + keys + drawn
    found.setflags(write=False)
    return found
