"""Sparse rows in numpy: what every table between two kinds of things is held as.

R rows, C columns, Z entries that are not zero.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "segments", "spans"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """A sparse matrix, row by row; the columns of a row ascend and none stands twice.

    Attributes:
        starts: `[R + 1]`, where each row begins in the other two.
        columns: `[Z]`.
        values: `[Z]`.
        width: C.
    """

    starts: Ints
    columns: Ints
    values: Floats
    width: int

    @classmethod
    def of(cls, rows: Ints, columns: Ints, values: Floats, shape: tuple[int, int]) -> "Rows":
        """From entries in any order; those of one place are added up, in the order of their values, so that the
        order in which they came decides nothing, not even a rounding."""
        height, width = shape
        places = rows * width + columns
        order = np.lexsort((values, places))
        places, values = places[order], values[order]
        first = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]])) if len(places) else places
        summed = np.add.reduceat(values, first) if len(places) else values
        kept_rows, kept_columns = np.divmod(places[first], max(width, 1))
        starts = np.concatenate([[0], np.cumsum(np.bincount(kept_rows, minlength=height))])
        return cls(starts.astype(np.int64), kept_columns.astype(np.int64), summed.astype(np.float64), width)

    @classmethod
    def empty(cls, height: int, width: int) -> "Rows":
        return cls(np.zeros(height + 1, np.int64), np.zeros(0, np.int64), np.zeros(0), width)

    @property
    def height(self) -> int:
        return len(self.starts) - 1

    @property
    def row_of_entry(self) -> Ints:
        """`[Z]`: the row in which each entry stands."""
        return np.repeat(np.arange(self.height), np.diff(self.starts))

    def row(self, index: int) -> tuple[Ints, Floats]:
        """Columns and values of one row."""
        part = slice(self.starts[index], self.starts[index + 1])
        return self.columns[part], self.values[part]

    def transposed(self) -> "Rows":
        return Rows.of(self.columns, self.row_of_entry, self.values, (self.width, self.height))

    def times(self, vector: Floats) -> Floats:
        """The product with a vector `[C]`, `[R]`."""
        products = self.values * vector[self.columns]
        return np.bincount(self.row_of_entry, products, minlength=self.height).astype(np.float64)


def segments(starts: Ints, picked: Ints) -> tuple[Ints, Ints]:
    """The entries of some rows: (their places `[Z']`, for each the position in `picked` of its row `[Z']`)."""
    return spans(starts[picked], starts[picked + 1] - starts[picked])


def spans(begins: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """The places of some spans, one span after another: (`[Z']`, for each which span it is of `[Z']`)."""
    owner = np.repeat(np.arange(len(begins)), lengths)
    before = np.cumsum(lengths) - lengths
    return begins[owner] + np.arange(len(owner)) - before[owner], owner
