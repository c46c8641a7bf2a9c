"""Bootstrap intervals over rows: the questions of one row share its luck, so whole rows are drawn again.

Legend: B rows, K columns (a metric or one value of a slice each), R resamples.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["bootstrap", "draw_weights"]

Floats = NDArray[np.float64]
RESAMPLES = 500


def draw_weights(rows: int, seed: int) -> Floats:
    """[R, B]: how often each row occurs in each resample (Efron & Tibshirani 1993, chapter 6)."""
    generator = np.random.default_rng((seed, rows))
    return generator.multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES).astype(np.float64)


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
