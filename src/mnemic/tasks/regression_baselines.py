"""What closed forms answer in in-context regression, from the points before the question (Garg et al. 2022,
arXiv 2208.01066).

Legend: B rows, n points, d coordinates.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["BASELINES", "averaging", "least_squares", "nearest_neighbours", "ridge", "zero"]

Numbers = NDArray[np.float64]

_NEIGHBOURS = 3


def zero(x: Numbers, y: Numbers, variance: float) -> Numbers:
    """Always 0, the mean of the prior."""
    return np.zeros_like(y)


def averaging(x: Numbers, y: Numbers, variance: float) -> Numbers:
    """w = mean of y_i x_i over the points told."""
    told = np.arange(1, y.shape[1])[:, None]
    w = np.zeros_like(x)
    w[:, 1:] = np.cumsum(x * y[..., None], axis=1)[:, :-1] / told
    return np.einsum("bnd,bnd->bn", x, w)


def nearest_neighbours(x: Numbers, y: Numbers, variance: float) -> Numbers:
    """The mean value of the three nearest points told, of all where there are fewer; 0 where there is none."""
    square = (x**2).sum(axis=2)
    distance = square[:, :, None] + square[:, None] - 2 * x @ x.swapaxes(1, 2)
    found = np.zeros_like(y)
    for i in range(1, y.shape[1]):
        nearest = np.argsort(distance[:, i, :i], axis=1, kind="stable")[:, :_NEIGHBOURS]
        found[:, i] = np.take_along_axis(y, nearest, 1).mean(axis=1)
    return found


def least_squares(x: Numbers, y: Numbers, variance: float) -> Numbers:
    """The line of least squared error, of least norm where several fit."""
    return _solved(x, y, 0.0)


def ridge(x: Numbers, y: Numbers, variance: float) -> Numbers:
    """The posterior mean under w ~ N(0, I) and noise of this variance: for linear functions nothing is better."""
    return _solved(x, y, variance)


def _solved(x: Numbers, y: Numbers, penalty: float) -> Numbers:
    """x·w with w = (XᵀX + penalty I)⁻¹ Xᵀy over the points before each; its limit where the penalty is 0."""
    found = np.zeros_like(y)
    gram, moment = np.zeros((len(x), x.shape[2], x.shape[2])), np.zeros((len(x), x.shape[2]))
    ridge_ = penalty * np.eye(x.shape[2])
    for i in range(1, y.shape[1]):
        last = x[:, i - 1]
        gram += last[:, :, None] * last[:, None]
        moment += last * y[:, i - 1, None]
        inverse = np.linalg.inv(gram + ridge_) if penalty else np.linalg.pinv(gram, rcond=1e-9, hermitian=True)
        found[:, i] = np.einsum("bd,bde,be->b", x[:, i], inverse, moment)
    return found


BASELINES: Mapping[str, Callable[[Numbers, Numbers, float], Numbers]] = {
    "zero": zero,
    "least squares": least_squares,
    "ridge": ridge,
    "3 nearest neighbours": nearest_neighbours,
    "averaging": averaging,
}
"""Name -> what is answered at each point [B, n] from (points [B, n, d], values [B, n], variance of the noise)."""
