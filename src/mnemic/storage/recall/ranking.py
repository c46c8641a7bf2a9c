"""From scores to ranks, the same way in every method."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.growing import Growing
from mnemic.storage.view import Scored, View

__all__ = ["answers", "best_first", "minmax", "ranked", "standardised"]

Floats = NDArray[np.float64]


def best_first(scores: Floats, k: int) -> NDArray[np.int64]:
    """The `k` highest, the earlier of two equal ones first; those at -inf are left out."""
    finite = np.flatnonzero(scores > -np.inf)
    if k < len(finite):
        least = np.partition(scores[finite], len(finite) - k)[len(finite) - k]
        finite = finite[scores[finite] >= least]
    return finite[np.argsort(-scores[finite], kind="stable")[:k]]


def answers(view: View) -> NDArray[np.bool_]:
    """`[N]`: turns and chunks, which a question can be answered with; texts about a whole session are not recalled."""
    return view.extended("answers", _answers).rows[: len(view.passages)]


def _answers(view: View, before: Growing[np.bool_] | None, first: int) -> Growing[np.bool_]:
    found = Growing(np.bool_) if before is None else before
    found.extend(np.array([passage.level in ("turn", "chunk") for passage in view.passages[first:]], np.bool_))
    return found


def ranked(view: View, scores: Floats, k: int, parts: Mapping[str, Floats], path: tuple[str, ...] = ()) -> list[Scored]:
    """The best `k` passages that can be answers.

    Args:
        scores: `[N]`, -inf for passages that are not to be recalled.
        parts: what the scores are made of, `[N]` each.
    """
    return [
        Scored(int(i), float(scores[i]), {name: float(values[i]) for name, values in parts.items()}, path)
        for i in best_first(np.where(answers(view), scores, -np.inf), k)
    ]


def minmax(scores: Floats) -> Floats:
    """Scaled to 0 … 1; all ones where all are equal."""
    if len(scores) == 0:
        return scores
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.ones_like(scores)


def standardised(scores: Floats) -> Floats:
    """Mean 0 and variance 1; zeros where all are equal."""
    spread = scores.std() if len(scores) else 0.0
    return (scores - scores.mean()) / spread if spread > 0 else np.zeros_like(scores)
