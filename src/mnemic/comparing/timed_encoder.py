"""An encoder that makes each vector once, and says how long the vectors that it did not make would have taken."""

import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnemic.storage.encoder import Encoder

__all__ = ["TimedEncoder"]


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

    @property
    def untimed(self) -> Encoder:
        """The encoder itself, which remembers nothing."""
        return self._encoder

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
