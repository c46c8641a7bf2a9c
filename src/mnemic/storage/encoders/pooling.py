"""From vectors of parts to one vector of unit norm per text."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["encodable", "pieces", "unit", "weighted_mean"]

_PIECE = 20_000  # characters; a tokenizer needs some hundred bytes for each
Vectors = NDArray[np.float32]


def encodable(text: str) -> str:
    """Half a surrogate pair, which no tokenizer takes, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def pieces(text: str) -> Iterator[str]:
    """A text cut between words into pieces that a tokenizer can hold; most texts are one."""
    start = 0
    while len(text) - start > _PIECE:
        space = text.rfind(" ", start + _PIECE // 2, start + _PIECE)
        end = space if space > 0 else start + _PIECE
        yield text[start:end]
        start = end
    yield text[start:]


def weighted_mean(parts: Vectors, owners: NDArray[np.int64], weights: NDArray[np.float32], texts: int) -> Vectors:
    """`[texts, D]`: of each text the mean of its parts `[parts, D]`."""
    total = np.zeros((texts, parts.shape[1]), np.float32)
    np.add.at(total, owners, parts * weights[:, None])
    return total


def unit(vectors: Vectors) -> Vectors:
    """Each divided by its length; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)
