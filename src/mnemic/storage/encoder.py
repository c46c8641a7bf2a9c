"""What turns texts into vectors, as the store and recall methods see it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoder"]


class Encoder(Protocol):
    """Vectors of one encoder are never compared with those of another: a store records its name and revision.

    Attributes:
        name: as the user asks for it, such as "wordllama".
        revision: changes whenever the vectors do.
        dim: D.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[n, D]`, of unit norm; a text that says nothing to the encoder gets zeros. Safe to call from threads."""
        ...
