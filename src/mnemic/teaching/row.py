"""A row of tokens with what is asked of it, and whoever makes rows: the part that every recipe of teaching shares.

Legend: T tokens of a row, R rows.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from mnemic.tasks.base import UNASKED

__all__ = ["Row", "RowSource", "completion_labels"]


class Row(NamedTuple):
    """All [T]; `labels` are shifted: what is to come after each token, -100 where nothing is asked."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    positions: NDArray[np.int64]
    visible_until: NDArray[np.int64]


class RowSource(Protocol):
    """R rows, rendered when they are asked for."""

    @property
    def options(self) -> BaseModel:
        """How the rows were made."""

    @property
    def label(self) -> str:
        """What is taught by them, in one word."""

    @property
    def limit(self) -> int:
        """Tokens that no row exceeds."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[R]."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Reason -> records that give no row."""

    @property
    def vocab_size(self) -> int:
        """One more than the tokenizer's largest id."""

    @property
    def pad(self) -> int:
        """The id that fills rows up."""

    @property
    def key(self) -> str:
        """Equal for equal contents."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Row: ...

    def family(self, row: int) -> str:
        """Rows of one family are held out together: one of them would give the others away."""


def completion_labels(ids: NDArray[np.int64], begins: int) -> NDArray[np.int64]:
    """[T]: asked is what the model writes, from the token at `begins` on."""
    labels = np.full(len(ids), UNASKED, np.int64)
    asked = max(0, begins - 1)
    labels[asked:-1] = ids[asked + 1 :]
    return labels
