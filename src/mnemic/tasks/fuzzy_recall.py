"""Fuzzy recall: keys and values are made of several tokens (MAD, Poli et al. 2024, arXiv 2403.17844).

Legend: B rows, P pairs that a row may hold, M tokens of the longest key or value, T time.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, BoolArray, Examples, IntArray, Split, TaskConfig
from mnemic.tasks.mqar_stream import told_since
from mnemic.tasks.sampling import first_equal, one_of, previous_equal
from mnemic.tasks.tokens import TokenTask

__all__ = ["FuzzyRecall"]

REDRAWN = 1000


class FuzzyRecall(TokenTask, frozen=True, extra="forbid"):
    """Pairs of a key and a value, each of 1 to M different tokens; a key keeps its value. Asked is every token of the
    values of keys that return, and the last pair asks for a key that was seen. Rows are padded on the right.

    Args:
        length: tokens of a row, at most.
        vocab: ids C; keys are made of the lower half, values of the upper.
        key_tokens: most tokens of a key.
        value_tokens: most tokens of a value.
        probe: which of the keys that were seen the last pair asks for; auto: any, but the longest ones in test rows.
    """

    name: ClassVar[str] = "fuzzy-recall"
    version: ClassVar[int] = 1

    length: Annotated[int, Field(ge=4, le=1 << 18)] = 128
    vocab: Annotated[int, Field(ge=4, le=1 << 16)] = 16
    key_tokens: Annotated[int, Field(ge=1, le=4)] = 3
    value_tokens: Annotated[int, Field(ge=1, le=4)] = 3
    probe: Literal["auto", "any", "longest"] = "auto"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        longest = max(self.key_tokens, self.value_tokens)
        if longest > self.vocab // 2:
            raise UsageError(
                f"vocab={self.vocab} has {self.vocab // 2} tokens for keys, fewer than the {longest} of one"
            )
        if self.length < 2 * self._pair:
            raise UsageError(f"length={self.length} must be at least {2 * self._pair}, two of the longest pairs")
        return self

    @property
    def vocab_size(self) -> int:
        return 1 + self.vocab

    @property
    def max_length(self) -> int:
        return self.length

    @property
    def chance(self) -> float:
        return 1 / self._values

    def information_bits(self) -> float:
        """A value's mean tokens for each of the keys that a row holds on average, or of those that exist."""
        pairs = 2 * self.length / (self.key_tokens + self.value_tokens + 2)
        keys = sum(math.perm(self._keys, n) for n in range(1, self.key_tokens + 1))
        return min(pairs, keys) * (self.value_tokens + 1) / 2 * math.log2(self._values)

    def row_bits(self) -> float:
        return self.length / self._pair * math.log2(self._keys) + math.log2(self._values)

    def rows_of_block(self, identity: str, split: Split, block: int, rows: int) -> Examples:
        longest = self.probe == "longest" or (self.probe == "auto" and split == "test")
        task = self.replace(probe="longest" if longest else "any") if self.probe == "auto" else self
        return super(FuzzyRecall, task).rows_of_block(identity, split, block, rows)

    def draw(self, rng: Generator, rows: int) -> Examples:
        most = self.length // 2
        key = _tuples(rng, (rows, most), self.key_tokens, self._keys)
        fits = self._fitting(key, value := self._first_values(rng, key))
        wanted = self._askable(key, fits)
        for _ in range(REDRAWN):
            again = np.flatnonzero(~wanted.any(axis=1))
            if not len(again):
                return self._rows_of(rng, key, value, fits, wanted)
            key[again] = _tuples(rng, (len(again), most), self.key_tokens, self._keys)
            value[again] = self._first_values(rng, key[again])
            fits[again] = self._fitting(key[again], value[again])
            wanted[again] = self._askable(key[again], fits[again])
        raise UsageError(f"{self.spec()}: hardly a row has a key of {self.key_tokens} tokens; use a larger length")

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            memory: dict[tuple[int, ...], list[int]] = {}
            t = 0
            while t < len(row) and row[t]:
                key_from = t
                while t < len(row) and 1 <= row[t] <= self._keys:
                    t += 1
                key, value_from = tuple(row[key_from:t]), t
                while t < len(row) and row[t] > self._keys:
                    t += 1
                for place, token in enumerate(memory.get(key, [])):
                    labels[r, value_from - 1 + place] = token
                memory[key] = row[value_from:t]
        return labels

    def word(self, token: int) -> str:
        return "." if token == 0 else f"k{token}" if token <= self._keys else f"v{token - self._keys - 1}"

    def loads(self) -> list[TaskConfig]:
        """Half, twice and four times the length."""
        lengths = (self.length // 2, 2 * self.length, 4 * self.length)
        return [self.replace(length=length) for length in lengths if 2 * self._pair <= length <= 1 << 18]

    @property
    def _keys(self) -> int:
        return self.vocab // 2

    @property
    def _values(self) -> int:
        return self.vocab - self._keys

    @property
    def _pair(self) -> int:
        """Tokens of the longest pair."""
        return self.key_tokens + self.value_tokens

    def _first_values(self, rng: Generator, key: IntArray) -> IntArray:
        """[B, P, M] a value for each pair, that of the first pair with its key."""
        value = _tuples(rng, key.shape[:2], self.value_tokens, self._values)
        return np.take_along_axis(value, first_equal(_codes(key, self._keys))[..., None], 1)

    def _fitting(self, key: IntArray, value: IntArray) -> BoolArray:
        """[B, P] the pairs that leave room for the last one."""
        size = (key >= 0).sum(axis=2) + (value >= 0).sum(axis=2)
        return np.asarray(size.cumsum(axis=1) <= self.length - self._pair)

    def _askable(self, key: IntArray, fits: BoolArray) -> BoolArray:
        """[B, P] where a key that may be asked stands first."""
        codes = _codes(key, self._keys)
        found = fits & (first_equal(codes) == np.arange(key.shape[1]))
        return found & (key[..., -1] >= 0) if self.probe == "longest" else found

    def _rows_of(self, rng: Generator, key: IntArray, value: IntArray, fits: BoolArray, wanted: BoolArray) -> Examples:
        row = np.arange(len(key))
        last, probe = fits.sum(axis=1), one_of(rng, wanted)
        key[row, last], value[row, last] = key[row, probe], value[row, probe]
        fits[row, last] = True
        key_size, value_size = (key >= 0).sum(axis=2) * fits, (value >= 0).sum(axis=2) * fits
        end = (key_size + value_size).cumsum(axis=1)
        value_at = end - value_size
        codes = np.where(fits, _codes(key, self._keys), -1)
        before = np.where(fits, previous_equal(codes + 1), -1)
        known = np.cumsum(fits & (before < 0), axis=1)
        age_rank = told_since(before, before >= 0, fits)
        shape = (len(key), self.length + 1)  # the last column takes what is not there
        input_ids, labels = np.zeros(shape, np.int64), np.full(shape, UNASKED)
        slices = {name: np.zeros(shape, np.int32) for name in ("distance", "load", "age_rank", "key_tokens")}
        distance = value_at - 1 - np.take_along_axis(value_at, np.maximum(before, 0), 1)
        for j in range(self.key_tokens):
            at = np.where(j < key_size, value_at - key_size + j, self.length)
            np.put_along_axis(input_ids, at, 1 + key[..., j], 1)
        for j in range(self.value_tokens):
            token, present = 1 + self._keys + value[..., j], j < value_size
            np.put_along_axis(input_ids, np.where(present, value_at + j, self.length), token, 1)
            at = np.where(present & (before >= 0), value_at + j - 1, self.length)
            np.put_along_axis(labels, at, token, 1)
            found = {"distance": distance, "load": known, "age_rank": age_rank, "key_tokens": key_size}
            for name, values in found.items():
                np.put_along_axis(slices[name], at, values, 1)
        labels = labels[:, :-1]
        present = np.arange(self.length) < end[:, -1:]
        return Examples(
            np.where(present, input_ids[:, :-1], 0),
            labels,
            labels != UNASKED,
            {name: values[:, :-1] for name, values in slices.items()},
            present,
        )


def _tuples(rng: Generator, shape: tuple[int, ...], most: int, ids: int) -> IntArray:
    """[B, P, M] 1 to M different ids below `ids`, -1 behind them."""
    size = rng.integers(1, most + 1, size=shape)
    drawn = np.stack([rng.integers(ids - j, size=shape) for j in range(most)], axis=-1)
    for j in range(1, most):  # the drawn one among those that are left, in their order
        for taken in np.moveaxis(np.sort(drawn[..., :j], axis=-1), -1, 0):
            drawn[..., j] += drawn[..., j] >= taken
    return np.where(np.arange(most) < size[..., None], drawn, -1)


def _codes(tuples: IntArray, ids: int) -> IntArray:
    """[B, P] one number for each tuple."""
    code = np.zeros(tuples.shape[:-1], np.int64)
    for j in range(tuples.shape[-1]):
        code = code * (ids + 1) + 1 + tuples[..., j]
    return code
