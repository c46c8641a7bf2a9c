"""Where the blocks and pairs of a section of joint recall stand, for rows of different sizes at once.

Legend: B rows, N blocks and K pairs of the largest row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from mnemic.tasks.base import BoolArray, IntArray

__all__ = ["Section"]


@dataclass(frozen=True)
class Section:
    """Blocks [B] of pairs [B] a row, inside arrays for the largest row: most_blocks (N) by most_pairs (K)."""

    blocks: IntArray
    pairs: IntArray
    most_blocks: int
    most_pairs: int
    levels: int

    @property
    def length(self) -> IntArray:
        """[B] tokens."""
        return self.blocks * (self.levels + 2 * self.pairs)

    def block_order(self, rng: Generator) -> IntArray:
        """[B, N] blocks in a random order, those that a row does not have last."""
        return _present_first(rng, np.arange(self.most_blocks) < self.blocks[:, None])

    def key_order(self, rng: Generator) -> IntArray:
        """[B, N, K] likewise the keys of every block."""
        present = np.arange(self.most_pairs) < self.pairs[:, None, None]
        return _present_first(rng, np.repeat(present, self.most_blocks, axis=1))

    def some_facts(self, rng: Generator, count: int) -> tuple[IntArray, IntArray]:
        """Blocks [B, count] and keys [B, count, 1] of different facts."""
        block, key = np.divmod(np.arange(self.most_blocks * self.most_pairs), self.most_pairs)
        present = (block < self.blocks[:, None]) & (key < self.pairs[:, None])
        fact = _present_first(rng, present)[:, :count]
        return block[fact], key[fact][..., None]

    def places(self, start: IntArray | int, outside: int) -> tuple[IntArray, IntArray]:
        """Positions of the headers [B, N] and keys [B, N, K] of a section from `start` on; absent ones `outside`."""
        block, pair = np.arange(self.most_blocks), np.arange(self.most_pairs)
        stride = self.levels + 2 * self.pairs[:, None]
        header_at = np.reshape(start, (-1, 1)) + block * stride
        key_at = header_at[..., None] + self.levels + 2 * pair
        here = block < self.blocks[:, None]
        return np.where(here, header_at, outside), np.where(
            here[..., None] & (pair < self.pairs[:, None, None]), key_at, outside
        )


def _present_first(rng: Generator, present: BoolArray) -> IntArray:
    """Indices along the last axis in a random order, those present before the others."""
    return np.where(present, rng.random(present.shape), 2.0).argsort(axis=-1)
