"""Associative recall with one question at the end, the form before MQAR (Ba et al. 2016, Fu et al. 2023).

Legend: B rows, n pairs told, K keys that exist.
"""

import math
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.sampling import one_of, previous_equal
from mnemic.tasks.tokens import TokenTask

__all__ = ["AssociativeRecall"]


class AssociativeRecall(TokenTask, frozen=True, extra="forbid"):
    """Pairs k v k v … in which a key may return and keeps its value, then one of the keys: what was its value?

    Args:
        pairs: pairs told, repeated ones counted.
        vocab: ids C; keys take the lower half without 0, values the upper. The early papers stay at or below 40.
    """

    name: ClassVar[str] = "associative-recall"
    version: ClassVar[int] = 1

    pairs: Annotated[int, Field(ge=1, le=1 << 18)] = 16
    vocab: Annotated[int, Field(ge=4)] = 40

    @model_validator(mode="after")
    def _two_keys(self) -> Self:
        if self.pairs > 1 and self._keys < 2:
            raise UsageError(
                f"vocab={self.vocab} has one key, so that pairs={self.pairs} say one thing; use vocab=6 or more"
            )
        return self

    @property
    def vocab_size(self) -> int:
        return self.vocab

    @property
    def max_length(self) -> int:
        return 2 * self.pairs + 1

    @property
    def told(self) -> int:
        return 2 * self.pairs

    @property
    def chance(self) -> float:
        return 1 / self._values

    def information_bits(self) -> float:
        """Log2 of the values there are, for each of the keys that a row can hold."""
        return min(self.pairs, self._keys) * math.log2(self._values)

    def row_bits(self) -> float:
        return self.pairs * math.log2(self._keys) + math.log2(self._values)

    def draw(self, rng: Generator, rows: int) -> Examples:
        row = np.arange(rows)[:, None]
        keys = np.empty((rows, self.pairs + 1), dtype=np.int64)
        keys[:, :-1] = rng.integers(self._keys, size=(rows, self.pairs))
        told = np.zeros((rows, self._keys), dtype=np.bool_)
        told[row, keys[:, :-1]] = True
        keys[:, -1] = one_of(rng, told)
        values = rng.integers(self._values, size=(rows, self._keys))[row, keys]
        input_ids = np.empty((rows, self.max_length), dtype=np.int64)
        input_ids[:, 0::2] = 1 + keys
        input_ids[:, 1::2] = 1 + self._keys + values[:, :-1]
        labels = np.full_like(input_ids, UNASKED)
        labels[:, -1] = 1 + self._keys + values[:, -1]
        before = previous_equal(keys)
        last = before[:, -1:]
        first_since = (before[:, :-1] <= last) & (np.arange(self.pairs) > last)
        asked = {
            "distance": 2 * (self.pairs - last[:, 0]) - 1,
            "load": told.sum(axis=1),
            "age_rank": first_since.sum(axis=1),
            "repeats": (keys[:, :-1] == keys[:, -1:]).sum(axis=1),
        }
        slices = {name: np.zeros(input_ids.shape, dtype=np.int32) for name in asked}
        for name, values_of_rows in asked.items():
            slices[name][:, -1] = values_of_rows
        return Examples(input_ids, labels, labels != UNASKED, slices)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            labels[r, -1] = dict(zip(row[0:-1:2], row[1:-1:2], strict=True)).get(row[-1], UNASKED)
        return labels

    def word(self, token: int) -> str:
        return "." if token == 0 else f"k{token}" if token <= self._keys else f"v{token - self._keys - 1}"

    def loads(self) -> list[TaskConfig]:
        """Pairs in powers of two, up to four times as many."""
        return [
            self.replace(pairs=2**n) for n in range(1, min(19, (4 * self.pairs).bit_length())) if 2**n != self.pairs
        ]

    @property
    def _keys(self) -> int:
        return self.vocab // 2 - 1

    @property
    def _values(self) -> int:
        return self.vocab - self.vocab // 2
