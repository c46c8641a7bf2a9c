"""Needles in tokens of a closed vocabulary.

Legend: B rows, n statements told, T time.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray
from mnemic.tasks.sampling import distinct, permutations
from mnemic.tasks.slices import asking

__all__ = ["NeedleRows"]

QUESTION, FILLER = 1, 2
FILLERS = 32
KEY = FILLER + FILLERS


@dataclass(frozen=True)
class NeedleRows:
    """Statements "key value" at random places among fillers, or nothing but statements; then a question mark, and each
    asked key with its values behind it, in the order in which they were told.

    Args:
        keys, values, queries: keys with needles of their own, values of each, keys that are asked for.
        only_statements: the haystack are other statements, of one value each.
        pool: keys, and values, that there are.
    """

    length: int
    keys: int
    values: int
    queries: int
    only_statements: bool
    pool: int

    @property
    def vocab_size(self) -> int:
        return KEY + 2 * self.pool

    @property
    def answers(self) -> int:
        return self.pool

    @property
    def told(self) -> int:
        left = self.length - self.queries * (1 + self.values)
        return left // 2 * 2 if self.only_statements else left

    @property
    def statements(self) -> int:
        return self.told // 2 if self.only_statements else self.keys * self.values

    @property
    def names(self) -> int:
        """Different keys told."""
        return self.statements - self.keys * self.values + self.keys

    def check(self) -> None:
        if 2 * self.keys * self.values > self.told:
            need = 2 * self.keys * self.values + self.queries * (1 + self.values)
            raise UsageError(f"length={self.length} is too short in form=tokens; at least {need}")
        if max(self.names, self.values) > self.pool:
            raise UsageError(f"length={self.length} tells {self.names} keys; pool={self.pool} must be as many")

    def bits(self) -> float:
        return self.statements * math.log2(self.pool)

    def row_bits(self) -> float:
        """Of the keys and values told."""
        return self.statements * math.log2(self.pool) + self.names

    def draw(self, rng: Generator, rows: int) -> Examples:
        row = np.arange(rows)[:, None]
        name = KEY + distinct(rng, rows, self.names, self.pool)
        own = KEY + self.pool + np.stack([distinct(rng, rows, self.values, self.pool) for _ in range(self.keys)], 1)
        rest = KEY + self.pool + rng.integers(self.pool, size=(rows, self.names - self.keys))
        of = np.concatenate([np.repeat(np.arange(self.keys), self.values), np.arange(self.keys, self.names)])
        value = np.concatenate([own.reshape(rows, -1), rest], axis=1)
        rank = permutations(rng, rows, self.statements)  # the place of each statement among all
        ordered = np.sort(rank[:, : self.keys * self.values].reshape(rows, self.keys, self.values), axis=2)
        rank[:, : self.keys * self.values] = ordered.reshape(rows, -1)  # a key's values are told in their order
        start = np.take_along_axis(self._starts(rng, rows), rank, 1)
        context = FILLER + rng.integers(FILLERS, size=(rows, self.told))
        context[row, start] = name[:, of]
        context[row, start + 1] = value
        asked_values = own[:, : self.queries]
        question = np.concatenate([name[:, : self.queries, None], asked_values], axis=2).reshape(rows, -1)
        ids = np.concatenate([context, np.full((rows, 1), QUESTION), question[:, :-1]], axis=1)
        pad = self.length - ids.shape[1]
        ids = np.pad(ids, ((0, 0), (0, pad)))
        step = (1 + self.values) * np.arange(self.queries)[:, None] + np.arange(self.values)
        at = (self.told + 1 + step).reshape(-1)
        stored = start[:, : self.keys * self.values].reshape(rows, self.keys, self.values)[:, : self.queries] + 1
        place = ordered[:, : self.queries].reshape(rows, -1)
        stored = stored.reshape(rows, -1)
        load = self.statements
        return asking(
            ids, at, asked_values.reshape(rows, -1), distance=at - stored, load=load, age_rank=load - 1 - place,
            depth=100 * stored // self.told,
        )  # fmt: skip

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            told: dict[int, list[int]] = {}
            for t in range(self.told - 1):
                if KEY <= row[t] < KEY + self.pool:
                    told.setdefault(row[t], []).append(row[t + 1])
            for query in range(self.queries):
                at = self.told + 1 + query * (1 + self.values)
                for place, value in enumerate(told.get(row[at], [])):
                    labels[r, at + place] = value
        return labels

    def word(self, token: int) -> str:
        if token < KEY:
            return "." if token == 0 else "?" if token == QUESTION else f"n{token - FILLER}"
        return f"k{token - KEY}" if token < KEY + self.pool else f"v{token - KEY - self.pool}"

    def _starts(self, rng: Generator, rows: int) -> IntArray:
        """[B, n] where statements stand, ascending: each is a unit of two tokens, every filler one of its own."""
        units = self.told - self.statements
        if units == self.statements:
            return np.tile(2 * np.arange(self.statements), (rows, 1))
        is_statement = np.sort(distinct(rng, rows, self.statements, units), axis=1)
        return is_statement + np.arange(self.statements)
