"""Draws for whole batches of rows at once, from a generator that can start at any block of rows.

Legend: B rows, D things drawn per row, N things to draw from, T time.
"""

import hashlib

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from mnemic.tasks.base import BoolArray, IntArray

__all__ = [
    "block_generator",
    "distinct",
    "first_equal",
    "one_of",
    "permutations",
    "previous_equal",
    "row_hash",
    "weighted_distinct",
]


def block_generator(identity: str, block: int) -> Generator:
    """The generator of one block of rows: Philox keyed by `identity`, its counter's highest word the block's number."""
    key = np.frombuffer(hashlib.sha256(identity.encode()).digest()[:16], dtype=np.uint64)
    return Generator(Philox(key=key, counter=[0, 0, 0, block]))


def distinct(rng: Generator, rows: int, count: int, size: int) -> IntArray:
    """[B, D] ordered draws without replacement from 0 … size - 1, every ordered choice equally likely.

    A draw that repeats an earlier one of its row is drawn again. The rule looks only at which draws are equal, never at
    what they are, so renaming the N things changes nothing: all ordered choices keep the same probability.
    """
    if 2 * count > size:
        return permutations(rng, rows, size)[:, :count]
    drawn = rng.integers(size, size=(rows, count))
    shift = max(1, (count - 1).bit_length())
    column = np.arange(count)
    pending = np.arange(rows)
    while True:
        ordered = np.sort(drawn[pending] << shift | column, axis=1)
        row, after = np.nonzero(ordered[:, 1:] >> shift == ordered[:, :-1] >> shift)
        if not len(row):
            return drawn
        repeated = ordered[row, after + 1] & ((1 << shift) - 1)
        drawn[pending[row], repeated] = rng.integers(size, size=len(row))
        pending = pending[np.unique(row)]


def weighted_distinct(rng: Generator, rows: int, count: int, weights: NDArray[np.float64]) -> IntArray:
    """[B, D] draws one after the other without replacement, each in proportion to the weights [N] that are left.

    An exponential race: the first D of N arrivals with these rates come in exactly that law (the Gumbel top-k trick,
    Efraimidis & Spirakis 2006).
    """
    arrivals = rng.standard_exponential((rows, len(weights))) / weights
    if 4 * count > len(weights):
        return arrivals.argsort(axis=1)[:, :count]
    first = np.argpartition(arrivals, count - 1, axis=1)[:, :count]
    return np.take_along_axis(first, np.take_along_axis(arrivals, first, 1).argsort(axis=1), 1)


def permutations(rng: Generator, rows: int, size: int) -> IntArray:
    """[B, N] a fresh order of 0 … size - 1 in every row."""
    return rng.random((rows, size)).argsort(axis=1)


def one_of(rng: Generator, admissible: BoolArray) -> IntArray:
    """[B] one of the admissible columns of each row, equally likely; admissible: [B, N], at least one a row."""
    return np.where(admissible, rng.random(admissible.shape), -1.0).argmax(axis=1)


def previous_equal(values: IntArray) -> IntArray:
    """[B, T] index of the latest earlier entry of the row with the same value >= 0, or -1."""
    time = values.shape[1]
    shift = max(1, (time - 1).bit_length())
    ordered = np.sort(values << shift | np.arange(time), axis=1)
    index = ordered & ((1 << shift) - 1)
    earlier = np.full_like(values, -1)
    repeats = ordered[:, 1:] >> shift == ordered[:, :-1] >> shift
    np.put_along_axis(earlier, index[:, 1:], np.where(repeats, index[:, :-1], -1), axis=1)
    return earlier


def first_equal(values: IntArray) -> IntArray:
    """[B, T] index of the first entry of the row with the same value."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, 1)
    starts = np.ones(values.shape, dtype=np.bool_)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    place = np.maximum.accumulate(np.where(starts, np.arange(values.shape[1]), 0), axis=1)
    first = np.empty_like(order)
    np.put_along_axis(first, order, np.take_along_axis(order, place, 1), 1)
    return first


def row_hash(values: IntArray) -> IntArray:
    """[B] 64-bit hashes of rows [B, T], the same on every machine."""
    factors = block_generator("row hash", 0).integers(1 << 63, size=values.shape[1], dtype=np.uint64) | np.uint64(1)
    mixed = ((values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)) * factors).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(32)
    return mixed * np.uint64(0xD6E8FEB86659FD93)
