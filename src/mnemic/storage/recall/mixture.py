"""Two groups among numbers on a line: a mixture of two Gaussians, fitted to many rows of numbers at once.

B rows, C numbers in each.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["upper_component"]

_FLOOR = 1e-6  # added to variances, so that equal numbers have one
_TOLERANCE = 1e-3  # of the mean log-likelihood of a row
_STEPS = 100
Floats = NDArray[np.float64]


def upper_component(numbers: Floats) -> NDArray[np.bool_]:
    """Which numbers of a row belong to the component with the higher mean; all, where there are fewer than 3 or they
    are equal.

    The fit is expectation maximisation from the split with the least squared error, so it needs no random start.

    Args:
        numbers: `[B, C]`.

    Returns:
        `[B, C]`.
    """
    rows, width = numbers.shape
    upper = np.ones((rows, width), bool)
    if width < 3:
        return upper
    fitted = np.flatnonzero(np.ptp(numbers, axis=1) > 0)
    resp = _best_split(numbers[fitted])
    before = np.full(len(fitted), -np.inf)
    open_ = np.arange(len(fitted))
    final = np.zeros((len(fitted), width), bool)
    for _ in range(_STEPS):
        values = numbers[fitted[open_]]
        weight, mean, variance = _maximised(values, resp[open_])
        logs = (
            np.log(weight)[:, :, None]
            - 0.5 * np.log(2 * np.pi * variance)[:, :, None]
            - 0.5 * (values[:, None, :] - mean[:, :, None]) ** 2 / variance[:, :, None]
        )
        total = np.logaddexp(logs[:, 0], logs[:, 1])
        resp[open_] = np.exp(logs[:, 0] - total)
        higher = np.where(mean[:, 1] > mean[:, 0], 1, 0)
        final[open_] = np.where(higher[:, None] == 0, logs[:, 0] > logs[:, 1], logs[:, 1] > logs[:, 0])
        likelihood = total.mean(axis=1)
        moving = np.abs(likelihood - before[open_]) >= _TOLERANCE
        before[open_] = likelihood
        open_ = open_[moving]
        if not len(open_):
            break
    upper[fitted] = final
    return upper


def _best_split(numbers: Floats) -> Floats:
    """`[B, C]`: 1 for the numbers below the cut that leaves the least squared error within both sides."""
    rows, width = numbers.shape
    order = np.argsort(numbers, axis=1, kind="stable")
    ascending = np.take_along_axis(numbers, order, axis=1)
    left = np.cumsum(ascending, axis=1)[:, :-1]
    right = ascending.sum(axis=1, keepdims=True) - left
    size = np.arange(1, width)
    between = left**2 / size + right**2 / (width - size)
    cut = between.argmax(axis=1)
    lower = np.zeros((rows, width))
    np.put_along_axis(lower, order, (np.arange(width)[None, :] <= cut[:, None]).astype(np.float64), axis=1)
    return lower


def _maximised(numbers: Floats, lower: Floats) -> tuple[Floats, Floats, Floats]:
    """Weight, mean and variance of both components, `[B, 2]` each."""
    resp = np.stack([lower, 1 - lower], axis=1)  # [B, 2, C]
    mass = resp.sum(axis=2) + 10 * np.finfo(float).eps
    mean = (resp * numbers[:, None, :]).sum(axis=2) / mass
    variance = (resp * (numbers[:, None, :] - mean[:, :, None]) ** 2).sum(axis=2) / mass + _FLOOR
    return mass / numbers.shape[1], mean, variance
