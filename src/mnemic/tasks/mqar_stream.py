"""Recall in a stream in which keys return (in-context and noisy recall of Poli et al. 2024, arXiv 2403.17844).

Legend: B rows, n pairs of a row, K keys that exist.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, BoolArray, Examples, IntArray
from mnemic.tasks.sampling import one_of, previous_equal

__all__ = ["StreamRows", "told_since"]


@dataclass(frozen=True)
class StreamRows:
    """Pairs without end, a key keeps its value, the last pair asks for a key that was seen.

    Args:
        noise: chance that a place holds two noise tokens and no pair.
        noise_ids: different noise tokens; their ids follow those of keys and values.
    """

    length: int
    vocab: int
    noise: float = 0.0
    noise_ids: int = 0

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
        is_pair = self._pairs(rng, rows)
        seen = np.zeros((rows, self.keys + 1), dtype=np.bool_)  # the last column takes what is no pair
        seen[row, np.where(is_pair, keys, self.keys)[:, :-1]] = True
        keys[:, -1] = one_of(rng, seen[:, :-1])
        values = rng.integers(self.values, size=(rows, self.keys))[row, keys]
        input_ids = np.empty((rows, self.length), dtype=np.int64)
        input_ids[:, 0::2] = 1 + keys
        input_ids[:, 1::2] = 1 + self.keys + values
        if self.noise:
            noise = 1 + self.vocab + rng.integers(self.noise_ids, size=input_ids.shape)
            input_ids = np.where(np.repeat(is_pair, 2, axis=1), input_ids, noise)
        before = np.where(is_pair, previous_equal(np.where(is_pair, keys, self.keys)), -1)
        asked = before >= 0
        known = np.cumsum(is_pair & ~asked, axis=1)
        labels = np.full_like(input_ids, UNASKED)
        labels[:, 0::2] = np.where(asked, input_ids[:, 1::2], UNASKED)
        slices = {
            "distance": _on_even(np.where(asked, 2 * (np.arange(count) - before) - 1, 0)),
            "load": _on_even(np.where(asked, known, 0)),
            "age_rank": _on_even(told_since(before, asked, is_pair)),
        }
        return Examples(input_ids, labels, labels != UNASKED, slices)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            memory: dict[int, int] = {}
            for t in range(0, len(row), 2):
                if row[t] > self.vocab:
                    continue
                labels[r, t] = memory.get(row[t], UNASKED)
                memory[row[t]] = row[t + 1]
        return labels

    def word(self, token: int) -> str:
        if token > self.vocab:
            return f"n{token - self.vocab - 1}"
        return "." if token == 0 else f"k{token}" if token <= self.keys else f"v{token - self.keys - 1}"

    def _pairs(self, rng: Generator, rows: int) -> BoolArray:
        """[B, n] which places hold a pair: the last one, at least one before it, and the others by chance."""
        is_pair = np.ones((rows, self.length // 2), dtype=np.bool_)
        if self.noise:
            drawn = rng.random(is_pair.shape) >= self.noise
            is_pair[:, :-1] = drawn[:, :-1]
            none = np.flatnonzero(~is_pair[:, :-1].any(axis=1))
            is_pair[none, rng.integers(is_pair.shape[1] - 1, size=len(none))] = True
        return is_pair


def told_since(before: IntArray, asked: BoolArray, is_pair: BoolArray) -> IntArray:
    """[B, n] how many different other keys came between a pair and the previous pair with its key.

    A key counts where it comes first after that pair: where its own predecessor is not after it.
    """
    rank = np.zeros_like(before)
    ended = np.where(is_pair, before, before.shape[1])
    for i in np.flatnonzero(asked.any(axis=0)).tolist():
        since = before[:, i, None]
        first = ended[:, :i] <= since
        rank[:, i] = (first & (np.arange(i) > since)).sum(axis=1)
    return np.where(asked, rank, 0)


def _on_even(values: IntArray) -> IntArray:
    """[B, n] -> [B, 2n] with zeros between."""
    spread = np.zeros((len(values), 2 * values.shape[1]), dtype=np.int32)
    spread[:, 0::2] = values
    return spread
