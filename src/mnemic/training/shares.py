"""A process's share of every training batch: each takes every P-th row, P processes.

Most rows are found by their number. Rows of a stream come one after the other, and a process reads only those lanes of
it that its share comes from; where it stands is in the checkpoint, for any number of processes to go on from.
"""

from collections.abc import Iterator
from typing import Any

from accelerate.utils import gather_object

from mnemic.errors import UsageError
from mnemic.tasks.base import Examples
from mnemic.training.rows import Rows, Stream

__all__ = ["Shares"]


class Shares:
    """Args:
    position: the row that the next batch begins with.
    stream: of the checkpoint, {} where there is none or nothing is streamed.
    """

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        seed: int,
        position: int,
        stream: dict[str, Any],
        process: int,
        processes: int,
    ) -> None:
        self.rows, self.batch_size, self.position = rows, batch_size, position
        self.process, self.processes = process, processes
        opener = getattr(rows, "open_reader", None)
        self.stream: Stream | None = (
            opener(seed, position + process, processes, stream or None) if opener is not None else None
        )
        self.whole: Iterator[Examples] = iter(())
        if self.stream is None:
            self.whole = rows.stream("train", batch_size, seed, start=position)

    def next(self) -> Examples:
        """This process's rows of the next batch.

        Raises:
            UsageError: the rows end within it.
        """
        share = self.stream.take(self.batch_size // self.processes) if self.stream is not None else self._of_a_batch()
        self.position += self.batch_size
        return share

    def state(self) -> dict[str, Any]:
        """Where a stream stands, JSON; every process must ask."""
        if self.stream is None:
            return {}
        mine = self.stream.state()
        if self.processes == 1:
            return mine
        # where lanes are no multiple of the processes each reads them all, and the first stands at the batch's end
        return {lane: at for theirs in reversed(gather_object([mine])) for lane, at in theirs.items()}

    def _of_a_batch(self) -> Examples:
        examples = next(self.whole, None)
        if examples is None or len(examples) < self.batch_size:
            raise UsageError(f"task {self.rows.spec()} has no whole batch of training rows after row {self.position}")
        return examples[self.process :: self.processes]
