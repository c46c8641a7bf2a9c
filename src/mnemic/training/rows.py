"""What the training loop needs to know of rows, whoever makes them: a task does, and so do tokenised traces."""

from collections.abc import Iterator
from typing import Any, Protocol

from mnemic.tasks.base import Examples, Split

__all__ = ["Rows", "Stream", "largest_row"]


def largest_row(rows: "Rows", seed: int) -> Examples:
    """The training row that needs the most memory; any of a task's, which are all of one length."""
    own = getattr(rows, "largest_row", None)
    return own() if own is not None else rows.sample("train", 1, seed)


class Stream(Protocol):
    """Training rows that come one after the other; rows that have them offer `open_reader`, as `TextTask` does."""

    def take(self, rows: int) -> Examples:
        """The next of this process's rows."""

    def state(self) -> dict[str, Any]:
        """JSON from which a reader goes on."""


class Rows(Protocol):
    """Rows to train on and rows to validate on; `TaskConfig` is one. Row i of a split never changes."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""

    @property
    def max_length(self) -> int:
        """T of the longest row."""

    @property
    def chance(self) -> float | None:
        """Accuracy of guessing, None where nothing is answered right or wrong."""

    def sample(self, split: Split, count: int, seed: int = 0, start: int = 0) -> Examples:
        """Rows start … start + count - 1 of a split, fewer where they end."""

    def stream(
        self, split: Split, batch_size: int, seed: int = 0, worker: int = 0, workers: int = 1, start: int = 0
    ) -> Iterator[Examples]:
        """Batches from row `start` on."""

    def hash(self) -> str:
        """Equal for equal rows."""

    def spec(self) -> str:
        """The rows as a person would name them."""
