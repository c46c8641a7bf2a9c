"""A cache that evicts: any span of tokens leaves every full-attention layer, of each row by itself.

Positions are logical: they never change, and the gap that an evicted span leaves in them is not closed. A cleared slot
is hidden from the next token on; what it takes up is given back once enough has gathered.

Legend: B batch, T tokens of a call, S slots in use, C capacity.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from mnemic.context.attention import AttentionMemory
from mnemic.errors import UsageError
from mnemic.models.config import MnemicConfig
from mnemic.models.visibility import layer_kinds
from mnemic.teaching.memento.key_room import EvictingHostMemory, EvictingLayer, KeyRoom, roomy
from mnemic.teaching.memento.layer_rows import joined_layer, selected_layer

__all__ = ["COMPACT_SLOTS", "EvictingCache"]

COMPACT_SLOTS = 64
"""Slots that must have become free in every row before a batch is compacted."""


class EvictingCache(Cache):
    """A transformers cache; only layers of full attention evict, the others are what they always were.

    Attributes:
        valid: [B, C] of bool, slots that hold a token which later ones see.
        logical_pos: [B, C], the position of each slot's token.
        resident: [B], tokens that the next one sees.
        slots: S.
        lengths: [B], real tokens that each row has read.
        columns: tokens that each row was fed, padding among them: what recurrent and sliding layers have seen.
        compactions: how often the slots were closed up.
    """

    def __init__(self, layers: list[Any], batch: int, compact_slots: int | None = None) -> None:
        super().__init__(layers=layers)
        self.compact_slots = compact_slots
        self.valid = np.zeros((batch, 0), bool)
        self.logical_pos = np.zeros((batch, 0), np.int64)
        self.slots = self.columns = self.compactions = 0
        self.resident, self.lengths = np.zeros(batch, np.int64), np.zeros(batch, np.int64)
        self.most_allocated = self.most_allocated_bytes = 0

    @classmethod
    def of(cls, model: Any, batch: int, *, compact_slots: int | None = None, capacity: int = 0) -> Self:
        """An empty one for a model.

        Args:
            compact_slots: how many slots must be free in every row before they are closed up; None: 64, and at once for
                a batch of one, which then never needs a mask.
            capacity: slots to set aside from the start.

        Raises:
            UsageError: a model without a layer of full attention: nothing in it could be evicted.
        """
        config = model.config.get_text_config(decoder=True)
        if isinstance(config, MnemicConfig):
            made = model.new_memory(batch).layers
            layers = [EvictingHostMemory(m, capacity) if type(m) is AttentionMemory else m for m in made]
        else:
            layers = [_emptied(layer, capacity) for layer in DynamicCache(config=config).layers]
        if "full_attention" not in layer_kinds(config) or not any(isinstance(layer, KeyRoom) for layer in layers):
            raise UsageError(
                f"{type(model).__name__} has no layer of full attention; its memory does not grow, so nothing can be "
                "evicted from it; generate without eviction"
            )
        return cls(layers, batch, compact_slots)

    @property
    def rooms(self) -> list[KeyRoom]:
        """The layers that evict."""
        return [layer for layer in self.layers if isinstance(layer, KeyRoom)]

    @property
    def allocated(self) -> int:
        """Slots set aside for each row."""
        return max(room.capacity for room in self.rooms)

    @property
    def allocated_bytes(self) -> int:
        """Bytes of the keys and values of all evicting layers and rows."""
        return sum(room.allocated_bytes for room in self.rooms)

    @property
    def has_holes(self) -> bool:
        return bool((self.resident != self.slots).any())

    def expect(self, positions: NDArray[np.int64], real: NDArray[np.bool_]) -> None:
        """Enter the tokens of the coming forward pass.

        Args:
            positions: [B, T].
            real: [B, T], False where a row is fed nothing: such a slot is a hole from the start.
        """
        time = positions.shape[1]
        end = self.slots + time
        if end > self.valid.shape[1]:
            more = roomy(end) - self.valid.shape[1]
            self.valid = np.pad(self.valid, ((0, 0), (0, more)))
            self.logical_pos = np.pad(self.logical_pos, ((0, 0), (0, more)))
        self.valid[:, self.slots : end] = real
        self.logical_pos[:, self.slots : end] = positions
        fed = real.sum(1)
        self.resident += fed
        # later than a prompt's padding, a row that is fed nothing has ended, and layers without slots read on for it
        self.lengths += fed if self.columns == 0 else time
        self.slots = end
        self.columns += time

    def evict(self, row: int, start: int, end: int) -> int:
        """Hide the tokens of one row whose positions are in [start, end); how many were there."""
        at = self.logical_pos[row, : self.slots]
        return self.evict_slots(row, (at >= start) & (at < end))

    def evict_slots(self, row: int, chosen: NDArray[np.bool_]) -> int:
        """Hide those slots [S] of one row; how many held something."""
        held = self.valid[row, : self.slots]
        gone = int((held & chosen).sum())
        held &= ~chosen
        self.resident[row] -= gone
        return gone

    def compact(self) -> bool:
        """Close up the slots if enough of them are free in every row; whether that was done."""
        least = self.compact_slots
        if least is None:
            least = 1 if len(self.valid) == 1 else COMPACT_SLOTS
        longest = int(self.resident.max())
        self.note_allocation()
        if self.slots - longest < least:
            return False
        # a stable sort puts what is held first, in its order
        order = np.argsort(~self.valid[:, : self.slots], axis=1, kind="stable")
        order = np.pad(order, ((0, 0), (0, max(0, roomy(longest) - self.slots))))[:, : roomy(longest)]
        self.valid = np.arange(order.shape[1]) < self.resident[:, None]
        self.logical_pos = np.take_along_axis(self.logical_pos, order, axis=1)
        self.slots = longest
        self._gather(np.arange(len(order)), order)
        self.compactions += 1
        return True

    def selected(self, rows: Sequence[int]) -> Self:
        """A cache of its own that holds copies of these rows."""
        chosen = copy(self)
        index = torch.as_tensor(rows, dtype=torch.int64)
        chosen.layers = [selected_layer(layer, index) for layer in self.layers]
        chosen.valid, chosen.logical_pos = self.valid[rows], self.logical_pos[rows]
        chosen.resident, chosen.lengths = self.resident[rows], self.lengths[rows]
        return chosen

    def joined(self, other: "EvictingCache") -> Self:
        """A cache of its own with the rows of both, the other's last."""
        both = copy(self)
        both.layers = [joined_layer(mine, theirs) for mine, theirs in zip(self.layers, other.layers, strict=True)]
        width = roomy(max(self.slots, other.slots))
        both.valid, both.logical_pos = (
            np.concatenate([_widened(a[:, : self.slots], width), _widened(b[:, : other.slots], width)])
            for a, b in ((self.valid, other.valid), (self.logical_pos, other.logical_pos))
        )
        both.resident = np.concatenate([self.resident, other.resident])
        both.lengths = np.concatenate([self.lengths, other.lengths])
        both.slots, both.columns = max(self.slots, other.slots), max(self.columns, other.columns)
        both.note_allocation()
        return both

    def note_allocation(self) -> None:
        self.most_allocated = max(self.most_allocated, self.allocated)
        self.most_allocated_bytes = max(self.most_allocated_bytes, self.allocated_bytes)

    def _gather(self, rows: NDArray[np.int64], slots: NDArray[np.int64]) -> None:
        moved: dict[torch.device, tuple[Tensor, Tensor]] = {}
        for room in self.rooms:
            if room.keys is None:
                continue
            device = room.keys.device
            if device not in moved:
                moved[device] = torch.from_numpy(rows).to(device), torch.from_numpy(slots).to(device)
            room.gather(*moved[device], self.slots)


def _emptied(layer: Any, capacity: int) -> Any:
    if type(layer) is not DynamicLayer:
        return layer
    evicting = EvictingLayer()
    evicting.reserved = capacity
    return evicting


def _widened(held: NDArray[Any], width: int) -> NDArray[Any]:
    return np.pad(held, ((0, 0), (0, width - held.shape[1])))
