"""What makes each question hard, laid out beside the rows.

Legend: B rows, T time, Q questions of a row.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mnemic.tasks.base import UNASKED, Examples, IntArray

__all__ = ["asking", "spread"]


def spread(shape: tuple[int, ...], at: ArrayLike, values: ArrayLike) -> IntArray:
    """[B, T] with values [B, Q] at the columns [B, Q] or [Q], zeros elsewhere; what is smaller is repeated."""
    found = np.zeros(shape, dtype=np.int32)
    columns = np.broadcast_to(at, np.broadcast_shapes(np.shape(at), np.shape(values), (shape[0], 1)))
    np.put_along_axis(found, columns, np.broadcast_to(values, columns.shape), axis=1)
    return found


def asking(input_ids: IntArray, at: ArrayLike, answers: IntArray, **slices: Any) -> Examples:
    """Rows [B, T] that ask at the columns [B, Q] or [Q] for the answers [B, Q], with their slices by name."""
    labels = np.full_like(input_ids, UNASKED)
    np.put_along_axis(labels, np.broadcast_to(at, answers.shape), answers, axis=1)
    named: Mapping[str, IntArray] = {name: spread(input_ids.shape, at, values) for name, values in slices.items()}
    return Examples(input_ids, labels, labels != UNASKED, named)
