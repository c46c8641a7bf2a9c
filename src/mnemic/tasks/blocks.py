"""Tasks whose rows are drawn in blocks from a counter, so that any row can be had without those before it.

Legend: B rows, T time.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import get_args

from mnemic.errors import UsageError
from mnemic.tasks.base import Examples, Split, TaskConfig, check_range

__all__ = ["BlockTask"]

BLOCK_ROWS = 256
BLOCK_TOKENS = 1 << 20


class BlockTask(TaskConfig, frozen=True, extra="forbid"):
    """Rows without end, made a block at a time: 256 of them, or fewer where rows are long."""

    @abstractmethod
    def rows_of_block(self, identity: str, split: Split, block: int, rows: int) -> Examples:
        """All rows of a block, from what `rows_identity`, the split and the seed say together, and its number."""

    def rows_identity(self) -> str:
        """What a row is drawn from, beside split, seed and number: the task, or what several forms of it share."""
        return self.hash()

    @property
    def rows_per_block(self) -> int:
        return min(BLOCK_ROWS, max(1, BLOCK_TOKENS // self.max_length))

    def sample(self, split: Split, count: int, seed: int = 0, start: int = 0) -> Examples:
        return self._rows(split, count, seed, start, {})

    def stream(
        self, split: Split, batch_size: int, seed: int = 0, worker: int = 0, workers: int = 1, start: int = 0
    ) -> Iterator[Examples]:
        check_range(self.name, "batch_size", batch_size, 1)
        check_range(self.name, "worker", worker, 0, workers - 1)
        held: dict[int, Examples] = {}  # batches smaller than a block would otherwise draw it again and again
        row = start + worker * batch_size
        while True:
            yield self._rows(split, batch_size, seed, row, held)
            row += workers * batch_size

    def block_identity(self, split: Split, seed: int) -> str:
        """
        Raises:
            UsageError: there is no such split.
        """
        if split not in get_args(Split):
            raise UsageError(f"{self.name}: split='{split}' must be one of {', '.join(get_args(Split))}")
        return f"{self.rows_identity()}/{split}/{seed}"

    def _rows(self, split: Split, count: int, seed: int, start: int, held: dict[int, Examples]) -> Examples:
        identity = self.block_identity(split, seed)
        check_range(self.name, "count", count, 0)
        check_range(self.name, "start", start, 0)
        per_block = self.rows_per_block
        first, last = start // per_block, max(start, start + count - 1) // per_block
        blocks = {
            n: held[n] if n in held else self.rows_of_block(identity, split, n, per_block)
            for n in range(first, last + 1)
        }
        held.clear()
        held[last] = blocks[last]
        return Examples.concat(
            [block[max(0, start - n * per_block) : start + count - n * per_block] for n, block in blocks.items()]
        )
