"""Encoders for timing: one that makes each vector once and says how long the others would have taken, and one that does
not make the last ones again."""

import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.encoder import Encoder

__all__ = ["LastTexts", "TimedEncoder"]


class LastTexts:
    """An encoder that is not asked the same twice in a row, until it is told to forget: a question that is searched for
    twice is timed once, and paid for once."""

    def __init__(self, encoder: Encoder) -> None:
        self.name, self.revision, self.dim = encoder.name, encoder.revision, encoder.dim
        self._encoder = encoder
        self._last: tuple[list[str], NDArray[np.float32]] | None = None

    def forget(self) -> None:
        self._last = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.encode`."""
        last = self._last
        if last is None or last[0] != list(texts):
            self._last = last = (list(texts), self._encoder.encode(texts))
        return last[1]


class TimedEncoder:
    """Several stores are built from the same passages; embedding them anew for each would only cost time.

    Attributes:
        owed: seconds that the vectors took when they were made which were handed out from memory since `settle`.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.name, self.revision, self.dim = encoder.name, encoder.revision, encoder.dim
        self.owed = 0.0
        self._encoder = encoder
        self._known: dict[str, tuple[NDArray[np.float32], float]] = {}
        self._lock = threading.Lock()

    def untimed(self) -> "LastTexts":
        """The encoder itself, which remembers nothing but what it was asked last."""
        return LastTexts(self._encoder)

    def settle(self) -> float:
        """What is owed, and nothing is from then on."""
        with self._lock:
            owed, self.owed = self.owed, 0.0
        return owed

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.encode`."""
        with self._lock:
            missing = list(dict.fromkeys(text for text in texts if text not in self._known))
            self.owed += sum(self._known[text][1] for text in texts if text in self._known)
            if missing:
                began = time.perf_counter()
                made = self._encoder.encode(missing)
                share = (time.perf_counter() - began) / len(missing)
                self._known |= {text: (vector, share) for text, vector in zip(missing, made, strict=True)}
            if not texts:
                return np.zeros((0, self.dim), np.float32)
            return np.stack([self._known[text][0] for text in texts])
