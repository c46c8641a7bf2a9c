"""An encoder without a model: every word has a direction of its own, drawn from its hash."""

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.terms import terms


@cache
def _direction(word: str, dim: int) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


class HashingEncoder:
    def __init__(self, name: str = "hashing", dim: int = 32) -> None:
        self.name, self.revision, self.dim = name, f"{name}-{dim}", dim

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for index, text in enumerate(texts):
            for word in terms(text):
                vectors[index] += _direction(word, self.dim)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(norms > 0, norms, 1)
