"""How the rows of MQAR that first tell and then ask are laid out, drawn and answered.

Legend: B rows, D facts, T time, W tokens of a key.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray
from mnemic.tasks.sampling import distinct, permutations, weighted_distinct

__all__ = ["CompositionalRows", "PairRows"]


@dataclass(frozen=True)
class PairRows:
    """Forms zoology and forgetting: key value key value …, `updates` keys with new values, then the questions."""

    pairs: int
    length: int
    vocab: int
    power: float
    filler: str
    passes: int
    updates: int

    @property
    def facts(self) -> int:
        return self.pairs

    @property
    def values(self) -> int:
        return self.vocab - self.vocab // 2

    @property
    def told(self) -> int:
        """Tokens before the questions."""
        return 2 * (self.pairs * self.passes + self.updates)

    def check(self) -> None:
        if self.length % 2:
            raise UsageError(f"length={self.length} must be even")
        if self.updates > self.pairs:
            raise UsageError(f"updates={self.updates} must be at most pairs={self.pairs}")
        need = self.told + 2 * self.pairs
        if need > self.length:
            raise UsageError(
                f"pairs={self.pairs} need length={need} or more (2·pairs·passes + 2·updates to tell, 2·pairs to ask), "
                f"got length={self.length}"
            )
        _check_pool("pairs", self.pairs, "keys", self.vocab // 2 - 1, self.vocab)
        _check_pool("pairs + updates", self.pairs + self.updates, "values", self.values, self.vocab)

    def bits(self) -> float:
        return _ordered_bits(self.vocab // 2 - 1, self.pairs) + _ordered_bits(self.values, self.pairs + self.updates)

    def draw(self, rng: Generator, rows: int) -> Examples:
        keys = 1 + distinct(rng, rows, self.pairs, self.vocab // 2 - 1)
        values = self.vocab // 2 + distinct(rng, rows, self.pairs + self.updates, self.values)
        told = np.empty((rows, self.pairs, 2), dtype=np.int64)
        told[..., 0], told[..., 1] = keys, values[:, : self.pairs]
        context = np.tile(told.reshape(rows, -1), self.passes)
        answers = told[..., 1]
        stored = np.broadcast_to(2 * (self.pairs * (self.passes - 1) + np.arange(self.pairs)) + 1, (rows, self.pairs))
        extra: dict[str, IntArray] = {}
        if self.updates:
            changed = permutations(rng, rows, self.pairs)[:, : self.updates]
            again = np.stack([np.take_along_axis(keys, changed, 1), values[:, self.pairs :]], axis=2)
            context = np.concatenate([context, again.reshape(rows, -1)], axis=1)
            answers, stored, updated = answers.copy(), stored.copy(), np.zeros_like(keys)
            np.put_along_axis(answers, changed, values[:, self.pairs :], 1)
            np.put_along_axis(stored, changed, 2 * (self.pairs + np.arange(self.updates))[None] + 1, 1)
            np.put_along_axis(updated, changed, 1, 1)
            extra = {"updated": updated}
        return _ask(rng, context, keys[..., None], answers, stored, self, extra)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        return _answer(rows, self.told, 1)

    def word(self, token: int) -> str:
        return "." if token == 0 else f"k{token}" if token < self.vocab // 2 else f"v{token - self.vocab // 2}"


@dataclass(frozen=True)
class CompositionalRows:
    """Form compositional: facts (first key, second key, value) on a full g by g grid, D = g²."""

    pairs: int
    length: int
    vocab: int
    power: float
    filler: str

    @property
    def facts(self) -> int:
        return self.pairs

    @property
    def third(self) -> int:
        return self.vocab // 3

    @property
    def side(self) -> int:
        return math.isqrt(self.pairs)

    @property
    def values(self) -> int:
        return self.vocab - 2 * self.third

    @property
    def told(self) -> int:
        return 3 * self.pairs

    def check(self) -> None:
        if self.side**2 != self.pairs:
            near = f"{self.side**2} or {(self.side + 1) ** 2}"
            raise UsageError(f"pairs={self.pairs} must be a square in form=compositional, such as {near}")
        if 6 * self.pairs > self.length:
            raise UsageError(f"pairs={self.pairs} need length={6 * self.pairs} or more, got length={self.length}")
        _check_pool("the grid's side", self.side, "first keys", self.third - 1, self.vocab)
        _check_pool("pairs", self.pairs, "values", self.values, self.vocab)

    def bits(self) -> float:
        side = self.side
        return (
            _ordered_bits(self.third - 1, side)
            + _ordered_bits(self.third, side)
            + _ordered_bits(self.values, self.pairs)
        )

    def draw(self, rng: Generator, rows: int) -> Examples:
        firsts = 1 + distinct(rng, rows, self.side, self.third - 1)
        seconds = self.third + distinct(rng, rows, self.side, self.third)
        cell = permutations(rng, rows, self.pairs)
        values = 2 * self.third + distinct(rng, rows, self.pairs, self.values)
        first, second = (
            np.take_along_axis(firsts, cell // self.side, 1),
            np.take_along_axis(seconds, cell % self.side, 1),
        )
        context = np.stack([first, second, values], axis=2).reshape(rows, -1)
        stored = np.broadcast_to(3 * np.arange(self.pairs) + 2, values.shape)
        return _ask(rng, context, np.stack([first, second], axis=2), values, stored, self, {})

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        return _answer(rows, self.told, 2)

    def word(self, token: int) -> str:
        if token == 0:
            return "."
        if token < 2 * self.third:
            return f"a{token}" if token < self.third else f"b{token - self.third}"
        return f"v{token - 2 * self.third}"


def _ask(
    rng: Generator,
    context: IntArray,
    keys: IntArray,
    answers: IntArray,
    stored: IntArray,
    layout: PairRows | CompositionalRows,
    extra: dict[str, IntArray],
) -> Examples:
    """Put every key [B, D, W] to a slot behind the context, by the power law, and its answer's label at its last token.

    stored: [B, D] where in the row the answer was last told.
    """
    rows, facts, key_tokens = keys.shape
    told, stride = context.shape[1], key_tokens + 1
    slots = (layout.length - told) // stride
    weights = np.arange(1, slots + 1, dtype=np.float64) ** (layout.power - 1)
    at = told + stride * weighted_distinct(rng, rows, facts, weights)
    base = np.arange(rows)[:, None] * layout.length
    input_ids = np.zeros((rows, layout.length), dtype=np.int64)
    input_ids[:, :told] = context
    for j in range(key_tokens):
        input_ids.reshape(-1)[base + at + j] = keys[..., j]
    asked_at = at + key_tokens - 1
    labels = np.full_like(input_ids, UNASKED)
    labels.reshape(-1)[base + asked_at] = answers
    slices = {
        "distance": asked_at - stored,
        "load": np.full_like(at, facts),
        "age_rank": facts - 1 - stored.argsort(axis=1).argsort(axis=1),
        **extra,
    }
    spread: dict[str, IntArray] = {}
    for name, values in slices.items():
        spread[name] = np.zeros(input_ids.shape, dtype=np.int32)
        spread[name].reshape(-1)[base + asked_at] = values
    if layout.filler == "random":
        _fill(rng, input_ids, keys.reshape(rows, -1), layout.vocab)
    return Examples(input_ids, labels, labels != UNASKED, spread)


def _fill(rng: Generator, input_ids: IntArray, keys: IntArray, vocab: int) -> None:
    """Every 0 becomes an id, uniform over all that are no key of its row."""
    row, column = np.nonzero(input_ids == 0)
    forbidden = np.zeros((len(input_ids), vocab), dtype=np.bool_)
    forbidden[np.arange(len(input_ids))[:, None], keys] = True
    while len(row):
        drawn = rng.integers(vocab, size=len(row))
        input_ids[row, column] = drawn
        again = forbidden[row, drawn]
        row, column = row[again], column[again]


def _answer(rows: NDArray[Any], told: int, key_tokens: int) -> IntArray:
    """[B, T] labels by reading: remember the facts, then look up every key that stands where questions may stand."""
    labels = np.full(rows.shape, UNASKED, dtype=np.int64)
    stride = key_tokens + 1
    for r, row in enumerate(rows.tolist()):
        memory = {tuple(row[t : t + key_tokens]): row[t + key_tokens] for t in range(0, told, stride)}
        for t in range(told, len(row) - key_tokens + 1, stride):
            labels[r, t + key_tokens - 1] = memory.get(tuple(row[t : t + key_tokens]), UNASKED)
    return labels


def _ordered_bits(size: int, count: int) -> float:
    """Log2 of the number of ordered choices of `count` from `size` without replacement."""
    return (math.lgamma(size + 1) - math.lgamma(size - count + 1)) / math.log(2)


def _check_pool(what: str, count: int, kind: str, size: int, vocab: int) -> None:
    if count > size:
        raise UsageError(f"{what}={count} must be at most {size}, the {kind} that vocab={vocab} has")
