"""Phrases that mean much the same, by the cosine of their vectors.

E phrases, D wide.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.storage.view import Links

__all__ = ["synonym_links"]

_AT_ONCE = 512
_SHORTEST = 3  # letters and digits of a phrase that may have synonyms


def synonym_links(
    names: Sequence[str],
    vectors: NDArray[np.float32],
    threshold: float = 0.8,
    *,
    most: int | None = 100,
    new_from: int = 0,
) -> Links:
    """Pairs of phrases with a cosine of at least `threshold`.

    Args:
        names: E cleaned phrases; those with fewer than 3 letters and digits have no synonyms.
        vectors: `[E, D]`, unit norm.
        most: of each phrase only this many of the nearest; None: all, which makes the pairs of old and new phrases
            together the same as those of all at once.
        new_from: only pairs with a phrase from this index on, at a cost of new x all.

    Raises:
        UsageError: `threshold` is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise UsageError(f"synonym threshold is {threshold}; it must be above 0 and at most 1")
    able = np.array([sum(map(str.isalnum, name)) >= _SHORTEST for name in names], bool)
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    askers = np.flatnonzero(able[new_from:]) + new_from
    for begin in range(0, len(askers), _AT_ONCE):
        asking = askers[begin : begin + _AT_ONCE]
        close = vectors[asking] @ vectors.T
        close[:, ~able] = -1
        close[np.arange(len(asking)), asking] = -1
        rows, columns = np.nonzero(close >= threshold)
        if most is not None:
            order = np.lexsort((columns, -close[rows, columns], rows))
            rows, columns = rows[order], columns[order]
            place = np.arange(len(rows)) - np.searchsorted(rows, rows)
            rows, columns = rows[place < most], columns[place < most]
        firsts.append(asking[rows])
        seconds.append(columns.astype(np.int64))
    one, other = np.concatenate(firsts), np.concatenate(seconds)
    low, high = np.divmod(np.unique(np.minimum(one, other) * len(names) + np.maximum(one, other)), max(len(names), 1))
    return Links(low, high, _cosines(vectors, low, high))


def _cosines(vectors: NDArray[np.float32], low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pair by pair, so that a weight does not depend on what it was computed together with."""
    parts = [
        np.einsum("ij,ij->i", vectors[low[i : i + 4096]], vectors[high[i : i + 4096]], dtype=np.float64)
        for i in range(0, len(low), 4096)
    ]
    return np.minimum(np.concatenate([np.zeros(0), *parts]), 1.0)
