"""Values of a slice put together, so that each point of a curve rests on enough questions."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["buckets"]

FEW = 8
_NOTHING_AT_ZERO = {"distance", "occurrences"}


def buckets(name: str, values: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the buckets that occur, in order, and each question's bucket.

    Up to eight different values stand for themselves; more are put together in ranges: 1-16, 17-64, 65-256, … for
    distances beyond 64 (the cut of Arora et al. 2023), else ranges that double: 1-4, 5-8, 9-16, ….
    A distance of 0, or no earlier occurrence, means that nothing was stored: it belongs to no bucket (-1).
    """
    left_out = values <= 0 if name in _NOTHING_AT_ZERO else np.zeros(len(values), dtype=bool)
    present = np.unique(values[~left_out])
    if not len(present):
        return [], np.full(len(values), -1)
    if len(present) <= FEW:
        index = np.searchsorted(present, values)
        return [str(v) for v in present], np.where(left_out, -1, index)
    edges = _edges(int(present[0]), int(present[-1]), 4 if name == "distance" and present[-1] > 64 else 2)
    index = np.searchsorted(edges, values)  # bucket i holds edges[i-1] < value <= edges[i]
    used = np.unique(index[~left_out])
    names = [_name(int(edges[i - 1]) + 1 if i else min(1, int(present[0])), int(edges[i])) for i in used]
    return names, np.where(left_out, -1, np.searchsorted(used, index))


def _edges(least: int, most: int, factor: int) -> NDArray[np.int64]:
    """Upper ends of the ranges: 4, 8, 16, … or 16, 64, 256, …, with one for what is not positive."""
    edges = [0] if least <= 0 else []
    end = 16 if factor > 2 else 4
    while True:
        edges.append(end)
        if end >= most:
            return np.array(edges)
        end *= factor


def _name(first: int, last: int) -> str:
    return str(last) if first == last else f"{first}-{last}"
