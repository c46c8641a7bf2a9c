"""MQAR as a stream in which keys return (form mad: in-context recall of Poli et al. 2024, arXiv 2403.17844).

Legend: B rows, n pairs of a row, K keys that exist.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray
from mnemic.tasks.sampling import one_of, previous_equal

__all__ = ["StreamRows"]


@dataclass(frozen=True)
class StreamRows:
    """Form mad: pairs without end, a key keeps its value, the last pair asks for a key that was seen."""

    length: int
    vocab: int

    @property
    def keys(self) -> int:
        return self.vocab // 2

    @property
    def facts(self) -> int:
        return min(self.keys, self.length // 2)

    @property
    def values(self) -> int:
        return self.vocab - self.keys

    def check(self) -> None:
        if self.length % 2 or self.length < 4:
            raise UsageError(f"length={self.length} must be even and at least 4")

    def bits(self) -> float:
        return (self.length // 2 - 1) * math.log2(self.keys) + math.log2(self.values)

    def draw(self, rng: Generator, rows: int) -> Examples:
        count = self.length // 2
        keys = rng.integers(self.keys, size=(rows, count))
        row = np.arange(rows)[:, None]
        seen = np.zeros((rows, self.keys), dtype=np.bool_)
        seen[row, keys[:, :-1]] = True
        keys[:, -1] = one_of(rng, seen)
        values = rng.integers(self.values, size=(rows, self.keys))[row, keys]
        input_ids = np.empty((rows, self.length), dtype=np.int64)
        input_ids[:, 0::2] = 1 + keys
        input_ids[:, 1::2] = 1 + self.keys + values
        before = previous_equal(keys)
        asked = before >= 0
        known = np.cumsum(~asked, axis=1)
        labels = np.full_like(input_ids, UNASKED)
        labels[:, 0::2] = np.where(asked, input_ids[:, 1::2], UNASKED)
        slices = {
            "distance": _on_even(np.where(asked, 2 * (np.arange(count) - before) - 1, 0)),
            "load": _on_even(np.where(asked, known, 0)),
            "age_rank": _on_even(np.where(asked, _told_since(before), 0)),
        }
        return Examples(input_ids, labels, labels != UNASKED, slices)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            memory: dict[int, int] = {}
            for t in range(0, len(row), 2):
                labels[r, t] = memory.get(row[t], UNASKED)
                memory[row[t]] = row[t + 1]
        return labels

    def word(self, token: int) -> str:
        return "." if token == 0 else f"k{token}" if token <= self.keys else f"v{token - self.keys - 1}"


def _told_since(before: IntArray) -> IntArray:
    """[B, n] how many different other keys came between a pair and the previous pair with its key."""
    rank = np.zeros_like(before)
    for i in range(1, before.shape[1]):
        rank[:, i] = (before[:, :i] <= before[:, i, None]).sum(axis=1) - before[:, i] - 1
    return rank


def _on_even(values: IntArray) -> IntArray:
    """[B, n] -> [B, 2n] with zeros between."""
    spread = np.zeros((len(values), 2 * values.shape[1]), dtype=np.int32)
    spread[:, 0::2] = values
    return spread
