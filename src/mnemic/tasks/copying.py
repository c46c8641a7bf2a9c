"""Copying a string, and looking a piece of it up: what a state of fixed size cannot do for strings that are too long.

Jelassi et al. 2024, "Repeat After Me", arXiv 2402.01032.

Legend: B rows, L tokens of the string, n tokens of an n-gram, A tokens that are asked for.
"""

import math
from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mnemic.errors import MnemicError, UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray, TaskConfig
from mnemic.tasks.slices import asking
from mnemic.tasks.tokens import TokenTask

__all__ = ["Copy", "PrefixLookup", "SuffixLookup"]

BAR, FIRST = 1, 2
REDRAWN = 1000


class Strings(TokenTask, frozen=True, extra="forbid"):
    """What the tasks on random strings share.

    Args:
        length: L.
        ids: letters.
    """

    version: ClassVar[int] = 1

    length: Annotated[int, Field(ge=2, le=1 << 19)] = 32
    ids: Annotated[int, Field(ge=2)] = 26

    @property
    def vocab_size(self) -> int:
        return FIRST + self.ids

    @property
    def chance(self) -> float:
        return 1 / self.ids

    def information_bits(self) -> float:
        return self.length * math.log2(self.ids)

    def row_bits(self) -> float:
        return self.length * math.log2(self.ids)

    def word(self, token: int) -> str:
        if token < FIRST:
            return "|" if token == BAR else "."
        return chr(ord("a") + token - FIRST) if self.ids <= 26 else f"t{token - FIRST}"

    def loads(self) -> list[TaskConfig]:
        """Half, twice and four times the length."""
        lengths = (self.length // 2, 2 * self.length, 4 * self.length)
        return self.those_that_fit({"length": length} for length in lengths)

    def _string(self, rng: Generator, rows: int) -> IntArray:
        return rng.integers(FIRST, self.vocab_size, size=(rows, self.length))


class Copy(Strings, frozen=True, extra="forbid"):
    """A string, a bar, and the string again; asked is the second one."""

    name: ClassVar[str] = "copy"

    @property
    def max_length(self) -> int:
        return 2 * self.length

    @property
    def told(self) -> int:
        return self.length

    def draw(self, rng: Generator, rows: int) -> Examples:
        string = self._string(rng, rows)
        input_ids = np.concatenate([string, np.full((rows, 1), BAR), string[:, :-1]], axis=1)
        asked = self.length + np.arange(self.length)
        age_rank = self.length - 1 - np.arange(self.length)
        return asking(input_ids, asked, string, distance=self.length, load=self.length, age_rank=age_rank)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            bar = row.index(BAR)
            for place, token in enumerate(row[:bar]):
                labels[r, bar + place] = token
        return labels


class Lookup(Strings, frozen=True, extra="forbid"):
    """What looking up after and before the string share; every n-gram that is asked for stands in its string once.

    Args:
        ngram: n.
        answer: A, how many of the tokens behind the n-gram are asked for.
    """

    ngram: Annotated[int, Field(ge=1, le=8)] = 3
    answer: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.ngram + self.answer > self.length:
            raise UsageError(
                f"ngram={self.ngram} and answer={self.answer} need length={self.ngram + self.answer} or more, "
                f"got length={self.length}"
            )
        if self.length > 4 * self.ids**self.ngram:
            raise UsageError(
                f"length={self.length}: hardly a {self.ngram}-gram of {self.ids} letters stands only once in it; use "
                f"length={4 * self.ids**self.ngram} at most, or a larger ngram"
            )
        return self

    @property
    def max_length(self) -> int:
        return self.length + self.ngram + self.answer + self._bars - 1

    def draw(self, rng: Generator, rows: int) -> Examples:
        string, at = self._string(rng, rows), rng.integers(self._starts, size=rows)
        for _ in range(REDRAWN):
            again = np.flatnonzero(_times(string, at, self.ngram) > 1)
            if not len(again):
                return self._row(string, at)
            string[again] = self._string(rng, len(again))
            at[again] = rng.integers(self._starts, size=len(again))
        raise MnemicError(f"{self.spec()}: no {self.ngram}-gram that stands once in {REDRAWN} strings")

    @property
    @abstractmethod
    def _bars(self) -> int: ...

    @abstractmethod
    def _row(self, string: IntArray, at: IntArray) -> Examples: ...

    @property
    def _starts(self) -> int:
        return self.length - self.ngram - self.answer + 1

    def _parts(self, string: IntArray, at: IntArray) -> tuple[IntArray, IntArray]:
        """[B, n] the n-gram that starts at [B], and [B, A] what follows it."""
        gram = np.take_along_axis(string, at[:, None] + np.arange(self.ngram), 1)
        return gram, np.take_along_axis(string, at[:, None] + self.ngram + np.arange(self.answer), 1)

    def _found(self, string: list[int], gram: list[int]) -> list[int]:
        ends = [e for e in range(self.ngram, len(string) + 1) if string[e - self.ngram : e] == gram]
        return string[ends[0] : ends[0] + self.answer] if ends else []


class SuffixLookup(Lookup, frozen=True, extra="forbid"):
    """A string, a bar, and an n-gram of the string: what followed it there?"""

    name: ClassVar[str] = "suffix-lookup"

    @property
    def told(self) -> int:
        return self.length

    @property
    def _bars(self) -> int:
        return 1

    def _row(self, string: IntArray, at: IntArray) -> Examples:
        gram, answer = self._parts(string, at)
        bar = np.full((len(string), 1), BAR)
        input_ids = np.concatenate([string, bar, gram, answer[:, :-1]], axis=1)
        asked = self.length + self.ngram + np.arange(self.answer)
        distance = self.length - at[:, None]  # both ends move on by one with every token of the answer
        age_rank = self.length - 1 - (at[:, None] + self.ngram + np.arange(self.answer))
        return asking(input_ids, asked, answer, distance=distance, load=self.length, age_rank=age_rank)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows.tolist()):
            end = self.length + 1 + self.ngram
            for place, token in enumerate(self._found(row[: self.length], row[self.length + 1 : end])):
                labels[r, end - 1 + place] = token
        return labels


class PrefixLookup(Lookup, frozen=True, extra="forbid"):
    """An n-gram, a bar, a string that has it, a bar: what followed it there? One who knows what to look for needs
    to keep only that."""

    name: ClassVar[str] = "prefix-lookup"

    @property
    def _bars(self) -> int:
        return 2

    def information_bits(self) -> float:
        """The n-gram, and then what followed it."""
        return (self.ngram + self.answer) * math.log2(self.ids)

    def _row(self, string: IntArray, at: IntArray) -> Examples:
        gram, answer = self._parts(string, at)
        bar = np.full((len(string), 1), BAR)
        input_ids = np.concatenate([gram, bar, string, bar, answer[:, :-1]], axis=1)
        asked = self.ngram + 1 + self.length + np.arange(self.answer)
        distance = self.length - self.ngram - at[:, None]
        age_rank = self.length - 1 - (at[:, None] + self.ngram + np.arange(self.answer))
        return asking(input_ids, asked, answer, distance=distance, load=self.length, age_rank=age_rank)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        first = self.ngram + 1
        for r, row in enumerate(rows.tolist()):
            for place, token in enumerate(self._found(row[first : first + self.length], row[: self.ngram])):
                labels[r, first + self.length + place] = token
        return labels


def _times(string: IntArray, at: IntArray, ngram: int) -> IntArray:
    """[B] how often the n-gram that starts at [B] stands in each string."""
    starts = string.shape[1] - ngram + 1
    same = np.ones((len(string), starts), dtype=np.bool_)
    row = np.arange(len(string))
    for j in range(ngram):
        same &= string[:, j : j + starts] == string[row, at + j][:, None]
    return np.asarray(same.sum(axis=1))
