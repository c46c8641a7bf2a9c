"""How good a ranking is, and whether one method's is better than another's.

Q questions, R resamples.
"""

import math
from collections.abc import Hashable, Sequence, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mnemic.errors import UsageError

__all__ = [
    "Interval", "all_recall_at_k", "any_recall_at_k", "mean_interval", "ndcg_at_k", "paired_difference", "recall_at_k",
    "turns_to_sessions",
]  # fmt: skip

_RESAMPLES = 2_000
_LEVEL = 95.0


def recall_at_k(ranked: Sequence[Hashable], gold: Set[Hashable], k: int) -> float:
    """The share of `gold` among the first `k`."""
    return len(gold & set(ranked[:k])) / _some(gold)


def all_recall_at_k(ranked: Sequence[Hashable], gold: Set[Hashable], k: int) -> float:
    """1 where all of `gold` is among the first `k`, else 0."""
    return float(len(gold & set(ranked[:k])) == _some(gold))


def any_recall_at_k(ranked: Sequence[Hashable], gold: Set[Hashable], k: int) -> float:
    """1 where any of `gold` is among the first `k`, else 0."""
    return float(min(len(gold & set(ranked[:k])), _some(gold)) > 0)


def ndcg_at_k(
    ranked: Sequence[Hashable],
    gold: Set[Hashable],
    k: int,
    discount: Literal["standard", "longmemeval"] = "standard",
) -> float:
    """Discounted gain of the first `k`, as a share of the best possible.

    Args:
        discount: of position i, from 1: log2(i + 1); "longmemeval", as LongMemEval's code has it: none for the first
            two, then log2(i).
    """
    if discount not in ("standard", "longmemeval"):
        raise UsageError(f"discount is '{discount}'; must be standard or longmemeval")
    shift = 1 if discount == "standard" else 0
    weights = [1 / math.log2(max(position + shift, 2)) for position in range(1, k + 1)]
    gained = sum(weight for weight, item in zip(weights, ranked, strict=False) if item in gold)
    return gained / sum(weights[: _some(gold)])


def turns_to_sessions(ranked: Sequence[str]) -> list[str]:
    """Sessions in the order in which the first turn of each comes; `ranked` holds the session of each turn."""
    return list(dict.fromkeys(ranked))


@dataclass(frozen=True)
class Interval:
    """A mean over questions and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The interval of a mean (percentile bootstrap).

    Args:
        values: `[Q]`, one for each question.

    Raises:
        UsageError: no question.
    """
    if not len(values):
        raise UsageError("there is no question to take a mean over")
    each = np.asarray(values, np.float64)
    drawn = np.random.default_rng((seed, len(each))).integers(0, len(each), (_RESAMPLES, len(each)))
    outside = (100 - _LEVEL) / 2
    low, high = np.percentile(each[drawn].mean(axis=1), [outside, 100 - outside])
    return Interval(float(each.mean()), float(low), float(high))


def paired_difference(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> Interval:
    """The interval of how much better `ours` is, question by question: both met the same questions.

    Raises:
        UsageError: they are not of the same questions.
    """
    if len(ours) != len(theirs):
        raise UsageError(f"{len(ours)} and {len(theirs)} values cannot be paired; give one of each for every question")
    return mean_interval(np.subtract(ours, theirs).tolist(), seed)


def _some(gold: Set[Hashable]) -> int:
    if not gold:
        raise UsageError("gold is empty; a question without evidence has no recall")
    return len(gold)
