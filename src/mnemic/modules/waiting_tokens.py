"""Tokens that wait for their chunk to fill, between the calls of a mixer that learns by chunks.

Chunks are counted in real tokens, so rows of a batch may stand at different places in theirs. A call lays what waited
and what is new behind one another, every row from the first slot of a chunk; slots past a row's end are empty.

Legend: B batch, C tokens of a chunk, T tokens of the call, S slots, a multiple of C; at most C - 1 tokens wait.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Slots", "slots_of"]


@dataclass(frozen=True)
class Slots:
    """
    Attributes:
        source: [B, S], the row of [waiting, new] that stands in each slot.
        filled: [B, S] of bool.
        place: [B, T], the slot of every new token; of padding, any.
        total: [B], tokens laid out.
        size: C.
    """

    source: Tensor
    filled: Tensor
    place: Tensor
    total: Tensor
    size: int

    def lay(self, waiting: Tensor, new: Tensor) -> Tensor:
        """waiting [B, C-1, ...] and new [B, T, ...] -> [B, S, ...], zero where a slot is empty."""
        return _take(torch.cat([waiting, new.to(waiting.dtype)], 1), self.source, self.filled)

    def pick(self, laid: Tensor) -> Tensor:
        """[B, S, ...] -> [B, T, ...]: what stands where the new tokens are."""
        return _take(laid, self.place, None)

    @property
    def still_waiting(self) -> Tensor:
        """[B]: how many tokens of an unfinished chunk a row ends with."""
        return self.total % self.size

    def wait(self, laid: Tensor) -> Tensor:
        """[B, S, ...] -> [B, C-1, ...]: the tokens of every row's unfinished chunk, zeros behind them."""
        index = torch.arange(self.size - 1, device=laid.device)[None]
        start = (self.total - self.still_waiting)[:, None]
        there = index < self.still_waiting[:, None]
        return _take(laid, (start + index).clamp(max=laid.shape[1] - 1), there)

    @property
    def complete(self) -> Tensor:
        """[B, N] of bool: which chunks are full."""
        chunks = self.source.shape[1] // self.size
        return (torch.arange(chunks, device=self.total.device)[None] + 1) * self.size <= self.total[:, None]


def slots_of(waiting: Tensor, time: int, real: Tensor | None, size: int) -> Slots:
    """
    Args:
        waiting: [B], how many tokens wait.
        time: T.
        real: [B, T] of bool, False on padding, which stands at either end; None for none.
        size: C.
    """
    device, held = waiting.device, size - 1
    if real is None:
        first, count = torch.zeros_like(waiting), torch.full_like(waiting, time)
    else:
        first, count = real.to(torch.int64).argmax(1), real.sum(1)
    slots = -(-(held + time) // size) * size
    slot, old = torch.arange(slots, device=device)[None], waiting[:, None]
    new = slot - old
    source = torch.where(new < 0, slot, held + first[:, None] + new)
    place = (torch.arange(time, device=device)[None] - first[:, None] + old).clamp(0, slots - 1)
    return Slots(source.clamp(max=held + time - 1), new < count[:, None], place, waiting + count, size)


def _take(x: Tensor, index: Tensor, there: Tensor | None) -> Tensor:
    """[B, ., ...] at [B, n] -> [B, n, ...]."""
    rows = torch.arange(x.shape[0], device=x.device)[:, None]
    found = x[rows, index]
    return found if there is None else found * there.view(*there.shape, *[1] * (x.ndim - 2)).to(x.dtype)
