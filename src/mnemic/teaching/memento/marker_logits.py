"""What a model may write next, given where it stands among blocks: the cap of a block, and the order of markers."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from mnemic.teaching.memento.blocks import BlockTracker
from mnemic.teaching.memento.decoding import Row

__all__ = ["BlockCap", "WellFormed", "forbidden_markers"]


class BlockCap(LogitsProcessor):
    """Ends a block by force once it holds so many tokens (Kontonis et al. 2026, arXiv 2604.09852, section on RL).

    Each row counts how often.
    """

    def __init__(self, rows: Sequence[Row], cap: int) -> None:
        self.rows, self.cap = rows, cap

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores: [B, V] -> [B, V]."""
        due = [index for index, row in enumerate(self.rows) if row.live and self._is_full(row)]
        if not due:
            return scores
        scores = scores.clone()
        for index in due:
            scores[index] = -torch.inf
            scores[index, self.rows[index].tracker.markers.block_end] = 0.0
            self.rows[index].forced += 1
        return scores

    def _is_full(self, row: Row) -> bool:
        opened = row.tracker.open_since
        return opened is not None and len(row.tokens) - opened - 1 >= self.cap


class WellFormed(LogitsProcessor):
    """Forbids markers out of order; everything else, the end of the text too, stays as likely as it was."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores: [B, V] -> [B, V]."""
        scores = scores.clone()
        for index, row in enumerate(self.rows):
            scores[index, forbidden_markers(row.tracker)] = -torch.inf
        return scores


def forbidden_markers(tracker: BlockTracker) -> list[int]:
    """The markers that would be out of order next."""
    markers = tracker.markers
    if tracker.in_summary:
        allowed = {markers.summary_end}
    elif tracker.open_since is not None:
        allowed = {markers.block_end}
    elif tracker.expects_summary:
        allowed = {markers.summary_start}
    else:
        allowed = {markers.block_start}
    return [marker for marker in markers if marker not in allowed]
