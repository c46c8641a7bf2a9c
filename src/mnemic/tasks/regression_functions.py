"""The families that in-context regression draws its functions from, scaled to variance d (Garg et al. 2022,
arXiv 2208.01066).

Legend: B rows, n points, d coordinates, h hidden units.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

__all__ = ["DRAWN"]

Numbers = NDArray[np.float64]

_NONZERO = 3
_HIDDEN = 100
_DEPTH = 4


def _linear(rng: Generator, x: Numbers) -> Numbers:
    """w·x with w ~ N(0, I)."""
    return _times(x, rng.standard_normal((len(x), x.shape[2])))


def _sparse(rng: Generator, x: Numbers) -> Numbers:
    """w·x with three coordinates of w not 0, scaled by √(d / 3)."""
    dims = x.shape[2]
    w = rng.standard_normal((len(x), dims))
    kept = rng.random(w.shape).argsort(axis=1) < _NONZERO
    return _times(x, w * kept * math.sqrt(dims / _NONZERO))


def _quadratic(rng: Generator, x: Numbers) -> Numbers:
    """w·(x²) / √3."""
    return _times(x**2, rng.standard_normal((len(x), x.shape[2]))) / math.sqrt(3)


def _relu(rng: Generator, x: Numbers) -> Numbers:
    """√(2/h) a·relu(R x) with h = 100 and every weight N(0, 1)."""
    inner = rng.standard_normal((len(x), _HIDDEN, x.shape[2]))
    outer = rng.standard_normal((len(x), _HIDDEN))
    hidden = np.maximum(np.einsum("bnd,bhd->bnh", x, inner), 0)
    return math.sqrt(2 / _HIDDEN) * _times(hidden, outer)


def _tree(rng: Generator, x: Numbers) -> Numbers:
    """A decision tree of depth 4: at each node the sign of one coordinate, at each leaf √d N(0, 1)."""
    rows, points, dims = x.shape
    tested = rng.integers(dims, size=(rows, 2**_DEPTH - 1))
    leaves = rng.standard_normal((rows, 2**_DEPTH)) * math.sqrt(dims)
    row = np.arange(rows)[:, None]
    node = np.zeros((rows, points), np.int64)
    for _ in range(_DEPTH):
        coordinate = np.take_along_axis(x, tested[row, node][..., None], 2)[..., 0]
        node = 2 * node + 1 + (coordinate > 0)
    return leaves[row, node - (2**_DEPTH - 1)]


def _times(x: Numbers, w: Numbers) -> Numbers:
    """[B, n, k] and [B, k] -> [B, n]."""
    return np.einsum("bnk,bk->bn", x, w)


DRAWN: Mapping[str, Callable[[Generator, Numbers], Numbers]] = {
    "linear": _linear,
    "sparse": _sparse,
    "quadratic": _quadratic,
    "relu": _relu,
    "tree": _tree,
}
"""Name -> a function of (generator, points [B, n, d]) that draws one function for every row and gives [B, n]."""
