"""Where to cut a trace into blocks: the partition with the best boundaries and the most even lengths.

n sentences of l_1..l_n tokens, boundary scores s_1..s_{n-1}; blocks of L_1..L_K tokens; T tokens in all.

    J = (1/K) sum(s over cuts) - weight * std(L) / mean(L),  every block of at least `min_tokens`, any K

Source: MEMENTO (arXiv 2604.09852), segmentation (stage 3); the divisor of the K-1 cuts is K.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError

__all__ = ["Method", "Segmentation", "objective", "segment"]

Method = Literal["exact", "greedy_dp"]
IntArray = NDArray[np.int64]

_NEVER = np.int64(2**62)
_GRID = 2  # scores are rounded to halves, which is what one or two passes of whole scores give


class Segmentation(NamedTuple):
    """Blocks as [first, one past the last) sentence, and their J."""

    blocks: tuple[tuple[int, int], ...]
    objective: float


def segment(
    scores: Sequence[float],
    token_counts: Sequence[int],
    *,
    min_tokens: int = 200,
    weight: float = 0.5,
    method: Method = "exact",
) -> Segmentation:
    """Cut sentences into blocks. One block if no partition has blocks long enough.

    Args:
        scores: of the boundaries between sentences, 0 to 3; one fewer than there are sentences.
        token_counts: of the sentences.
        min_tokens: the least of a block.
        weight: of the unevenness of the lengths against the mean score.
        method: "exact" finds the best partition; "greedy_dp" is the heuristic of the released code, which keeps one
            candidate per prefix and count although J is not additive.
    """
    if len(token_counts) == 0:
        raise UsageError("there are no sentences to cut into blocks")
    if len(scores) != len(token_counts) - 1:
        raise UsageError(f"{len(token_counts)} sentences have {len(token_counts) - 1} boundaries, not {len(scores)}")
    if method not in ("exact", "greedy_dp"):
        raise UsageError(f"method is '{method}'; it must be 'exact' or 'greedy_dp'")
    rounded = [round(score * _GRID) for score in scores]
    if any(score < 0 for score in rounded) or any(count < 0 for count in token_counts):
        raise UsageError("scores and token counts must not be negative")
    edges = np.array([0, *accumulate(token_counts)], dtype=np.int64)
    bonus = np.array([0, *rounded, 0], dtype=np.int64)  # bonus[i]: of the cut before sentence i
    cuts = (_exact if method == "exact" else _greedy)(edges, bonus, max(min_tokens, 1), weight)
    bounds = [0, *cuts, len(token_counts)]
    blocks = tuple(pairwise(bounds))
    return Segmentation(blocks, objective(blocks, [score / _GRID for score in rounded], token_counts, weight))


def objective(
    blocks: Sequence[tuple[int, int]], scores: Sequence[float], token_counts: Sequence[int], weight: float
) -> float:
    """J of a partition, straight from its definition."""
    lengths = [sum(token_counts[first:last]) for first, last in blocks]
    mean = sum(lengths) / len(lengths)
    spread = math.sqrt(sum((length - mean) ** 2 for length in lengths) / len(lengths))
    quality = sum(scores[first - 1] for first, _ in blocks[1:]) / len(blocks)
    return quality - (weight * spread / mean if mean else 0.0)


def _exact(edges: IntArray, bonus: IntArray, min_tokens: int, weight: float) -> list[int]:
    """For a fixed K, J depends on S = sum of scores and Q = sum of squared lengths alone, both additive:
    J = S/K - weight * sqrt(K*Q/T^2 - 1). So keep the least Q for every (prefix, K, S): the Pareto front and its inside.

    layer[i, S] is the least Q of K blocks over the first i sentences with doubled score S. Finished layers are kept
    from their first prefix that has room for K blocks.
    """
    n, total = len(edges) - 1, int(edges[-1])
    if total < min_tokens:
        return []
    latest = np.searchsorted(edges, edges - min_tokens, side="right")  # a block ending at i starts before latest[i]
    one = np.full((n + 1, 1), _NEVER)
    one[latest > 0, 0] = edges[latest > 0] ** 2
    one[0] = _NEVER
    layer, kept, best, where = one, [_Kept.of(one)], 0.0, (1, 0)
    promise = _promise(bonus)
    while promise[len(kept)] > best and (grown := _one_more(layer, edges, bonus, latest)) is not None:
        layer = grown
        kept.append(_Kept.of(layer))
        count, last = len(kept), layer[n]
        reached = np.flatnonzero(last < _NEVER)
        spread = np.sqrt(np.maximum(count * last[reached] / total**2 - 1.0, 0.0))
        values = reached / (_GRID * count) - weight * spread
        if len(values) and values.max() > best + 1e-12:
            best, where = float(values.max()), (count, int(reached[values.argmax()]))
    return _traced(kept, edges, bonus, latest, *where)


class _Kept(NamedTuple):
    """The rows of a layer from `first` on; no partition ends at an earlier one."""

    first: int
    least: IntArray

    @classmethod
    def of(cls, layer: IntArray) -> _Kept:
        first = int((layer < _NEVER).any(axis=1).argmax())
        return cls(first, layer[first:].copy())

    def at(self, end: int, score: int) -> int:
        inside = end >= self.first and 0 <= score < self.least.shape[1]
        return int(self.least[end - self.first, score]) if inside else int(_NEVER)


def _promise(bonus: IntArray) -> NDArray[np.float64]:
    """promise[K]: what J cannot exceed with more than K blocks, even ones of equal length around the best cuts."""
    blocks = np.arange(2, len(bonus) + 1)
    highest = np.cumsum(np.sort(bonus[1:-1])[::-1])[: len(blocks)]
    bounds = np.zeros(len(bonus) + 1)
    bounds[1 : 1 + len(highest)] = highest / (_GRID * blocks[: len(highest)])
    return np.maximum.accumulate(bounds[::-1])[::-1]


def _one_more(layer: IntArray, edges: IntArray, bonus: IntArray, latest: IntArray) -> IntArray | None:
    """The layer of one block more, or None when no prefix has room for it."""
    starts = np.flatnonzero((layer < _NEVER).any(axis=1))
    ends = np.flatnonzero(latest > starts[0]) if len(starts) else starts
    if len(ends) == 0:
        return None
    widest = layer.shape[1] + int(bonus[starts].max())
    shifted = np.full((len(starts), widest), _NEVER)  # by the score of the cut at each start
    for row, start in enumerate(starts):
        shifted[row, bonus[start] : bonus[start] + layer.shape[1]] = layer[start]
    grown = np.full((len(edges), widest), _NEVER)
    rows = np.searchsorted(starts, latest)
    for end in ends:
        squares = (edges[end] - edges[starts[: rows[end]]]) ** 2
        grown[end] = (shifted[: rows[end]] + squares[:, None]).min(axis=0)
    np.minimum(grown, _NEVER, out=grown)
    return grown if (grown < _NEVER).any() else None


def _traced(
    layers: list[_Kept], edges: IntArray, bonus: IntArray, latest: IntArray, count: int, score: int
) -> list[int]:
    """The cuts behind a value: at every layer some start gives exactly it."""
    cuts: list[int] = []
    end = len(edges) - 1
    for blocks in range(count, 1, -1):
        value, before = layers[blocks - 1].at(end, score), layers[blocks - 2]
        start = next(
            start
            for start in range(before.first, int(latest[end]))
            if before.at(start, score - int(bonus[start])) + int(edges[end] - edges[start]) ** 2 == value
        )
        cuts.append(start)
        end, score = start, score - int(bonus[start])
    return cuts[::-1]


def _greedy(edges: IntArray, bonus: IntArray, min_tokens: int, weight: float) -> list[int]:
    """One candidate per (prefix, K): the one whose prefix has the best J."""
    n = len(edges) - 1
    if edges[-1] < min_tokens:
        return []
    latest = np.searchsorted(edges, edges - min_tokens, side="right")
    scores = np.where(latest > 0, 0, -1).astype(np.int64)  # -1: this prefix cannot be cut into K blocks
    scores[0] = -1
    squares = edges**2
    parents: list[IntArray] = []
    best, chosen = 0.0, 1
    while (scores >= 0).any():
        count = len(parents) + 2
        grown, grown_squares = np.full(n + 1, -1, dtype=np.int64), np.zeros(n + 1, dtype=np.int64)
        parent = np.zeros(n + 1, dtype=np.int64)
        for end in range(1, n + 1):
            starts = np.flatnonzero(scores[: latest[end]] >= 0)
            if len(starts) == 0:
                continue
            gained = scores[starts] + bonus[starts]
            longer = squares[starts] + (edges[end] - edges[starts]) ** 2
            spread = np.sqrt(np.maximum(count * longer / edges[end] ** 2 - 1.0, 0.0))
            values = gained / (_GRID * count) - weight * spread
            at = int(values.argmax())
            grown[end], grown_squares[end], parent[end] = gained[at], longer[at], starts[at]
            if end == n and values[at] > best + 1e-12:
                best, chosen = float(values[at]), count
        parents.append(parent)
        scores, squares = grown, grown_squares
    cuts, end = [], n
    for parent in reversed(parents[: chosen - 1]):
        end = int(parent[end])
        cuts.append(end)
    return cuts[::-1]
