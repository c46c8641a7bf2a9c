"""Bootstrap intervals over rows or questions: those of one row share its luck, so whole rows are drawn again.

Legend: B rows, K columns (a metric or one value of a slice each), R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError

__all__ = ["Interval", "bootstrap", "draw_weights", "mean_interval", "mean_intervals", "paired_difference"]

Floats = NDArray[np.float64]
RESAMPLES = 500
_RESAMPLES_OF_QUESTIONS = 2_000  # they are fewer than rows, and cost less to draw


@dataclass(frozen=True)
class Interval:
    """A mean over questions and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def draw_weights(rows: int, seed: int, resamples: int = RESAMPLES) -> Floats:
    """[R, B]: how often each row occurs in each resample (Efron & Tibshirani 1993, chapter 6)."""
    generator = np.random.default_rng((seed, rows))
    return generator.multinomial(rows, np.full(rows, 1 / rows), size=resamples).astype(np.float64)


def bootstrap(sums: Floats, counts: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """The mean of each column and the 95 % interval of its percentiles.

    Args:
        sums: [B, K], what a row adds up to.
        counts: [B, K], over how many questions.
        weights: [R, B] of :func:`draw_weights`.

    Returns:
        mean, low, high: [K]. A resample in which a column has no question is left out of its interval.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(0) / counts.sum(0)
        resampled = (weights @ sums) / (weights @ counts)
    asked = counts.sum(0) > 0
    low, high = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    if asked.any():
        low[asked], high[asked] = np.nanpercentile(resampled[:, asked], [2.5, 97.5], axis=0)
    return mean, low, high


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The interval of a mean over questions.

    Args:
        values: `[B]`, one for each question.

    Raises:
        UsageError: no question.
    """
    return mean_intervals(np.asarray(values, np.float64)[:, None], seed)[0]


def mean_intervals(values: Floats, seed: int = 0) -> list[Interval]:
    """As :func:`mean_interval`, of each column of `values` [B, K]; the same questions are drawn for all."""
    if not len(values):
        raise UsageError("there is no question to take a mean over")
    weights = draw_weights(len(values), seed, _RESAMPLES_OF_QUESTIONS)
    found = bootstrap(values, np.ones_like(values), weights)
    return [Interval(*map(float, column)) for column in zip(*found, strict=True)]


def paired_difference(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> Interval:
    """The interval of how much better `ours` is, question by question: both met the same questions.

    Raises:
        UsageError: they are not of the same questions.
    """
    if len(ours) != len(theirs):
        raise UsageError(f"{len(ours)} and {len(theirs)} values cannot be paired; give one of each for every question")
    return mean_interval(np.subtract(ours, theirs).tolist(), seed)
