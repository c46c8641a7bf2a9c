"""How good a ranking is; whether one method's is better than another's is `mnemic.intervals`' to say."""

import math
from collections.abc import Hashable, Sequence, Set
from typing import Literal

from mnemic.errors import UsageError

__all__ = ["all_recall_at_k", "any_recall_at_k", "ndcg_at_k", "recall_at_k", "turns_to_sessions"]


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


def _some(gold: Set[Hashable]) -> int:
    if not gold:
        raise UsageError("gold is empty; a question without evidence has no recall")
    return len(gold)
