"""Closing a block by force: after so many tokens the only token that can follow is the block's end."""

from collections.abc import Sequence

from torch import Tensor

from mnemic.teaching.memento.blocks import BlockTracker
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

__all__ = ["BlockCap"]


class BlockCap:
    """The cap of one request; called with all its output tokens and the logits of the next one.

    Args:
        limit: tokens that a block may hold.
    """

    def __init__(self, markers: MarkerIds, limit: int) -> None:
        self._markers, self._limit = markers, limit
        self._tracker, self._read = self._begin(), 0

    def __call__(self, output: Sequence[int], logits: Tensor) -> Tensor:
        """
        Args:
            output: tokens sampled so far.
            logits: [V] for the next one.
        """
        if len(output) < self._read:  # tokens were taken back
            self._tracker, self._read = self._begin(), 0
        for position in range(self._read, len(output)):
            if output[position] in self._markers:
                self._tracker.push(output[position], position)
        self._read = len(output)
        start = self._tracker.open_since
        if start is None or self._read - start - 1 < self._limit:
            return logits
        logits.fill_(float("-inf"))
        logits[self._markers.block_end] = 0.0
        return logits

    def _begin(self) -> BlockTracker:
        return BlockTracker(self._markers, MementoRules(keep_last_n_blocks=-1))
