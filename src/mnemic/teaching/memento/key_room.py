"""Keys and values in more room than they fill, so that a token is written where it stays and nothing is copied for it.

A dynamic cache concatenates: every token copies all that came before it. Here buffers grow by half, a copy per token on
average however long the text is, and what is evicted is closed up by one gather.

Legend: B batch, G key heads, T tokens of a call, S slots in use, C capacity, D head width.
"""

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from mnemic.context.attention import AttentionMemory

__all__ = ["LEAST_CAPACITY", "EvictingHostMemory", "EvictingLayer", "KeyRoom", "roomy"]

LEAST_CAPACITY = 64


def roomy(slots: int) -> int:
    """The capacity for that many slots: half as many more, so that growing copies each key twice on average."""
    return max(LEAST_CAPACITY, slots + slots // 2)


class KeyRoom:
    """Buffers [B, G, C, D] of which the first S slots hold something; `keys` and `values` are views of those.

    Attributes:
        length: S.
    """

    length: int = 0
    _keys: Tensor | None = None
    _values: Tensor | None = None

    @property
    def keys(self) -> Tensor | None:
        return None if self._keys is None else self._keys[:, :, : self.length]

    @keys.setter
    def keys(self, keys: Tensor | None) -> None:
        self._keys, self.length = keys, 0 if keys is None else keys.shape[2]

    @property
    def values(self) -> Tensor | None:
        return None if self._values is None else self._values[:, :, : self.length]

    @values.setter
    def values(self, values: Tensor | None) -> None:
        self._values = values

    @property
    def capacity(self) -> int:
        return 0 if self._keys is None else self._keys.shape[2]

    @property
    def allocated_bytes(self) -> int:
        return sum(buffer.nbytes for buffer in (self._keys, self._values) if buffer is not None)

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write [B, G, T, D] behind what is held; views of all of it."""
        start, end = self.length, self.length + k.shape[2]
        if self._keys is None or self._values is None or end > self._keys.shape[2]:
            self.reserve(roomy(end), k, v)
        assert self._keys is not None
        assert self._values is not None
        self._keys[:, :, start:end] = k
        self._values[:, :, start:end] = v
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def reserve(self, capacity: int, like_keys: Tensor, like_values: Tensor) -> None:
        """Move into buffers of that capacity, of the shape and kind of tensors [B, G, any, D]."""
        moved = []
        for held, like in ((self._keys, like_keys), (self._values, like_values)):
            buffer = like.new_zeros(*like.shape[:2], max(capacity, self.length), like.shape[3])
            if held is not None and self.length:
                buffer[:, :, : self.length] = held[:, :, : self.length]
            moved.append(buffer)
        self._keys, self._values = moved

    def gather(self, rows: Tensor, slots: Tensor, length: int) -> None:
        """Hold only these slots of these rows, in this order, in buffers of just that capacity.

        Args:
            rows: [B'], which rows.
            slots: [B', C'], which slots of each; those beyond `length` may be any.
        """
        if self._keys is None or self._values is None:
            return
        groups, capacity = self._keys.shape[1:3]
        heads = rows[:, None] * groups + torch.arange(groups, device=rows.device)
        index = (heads[:, :, None] * capacity + slots[:, None, :]).flatten()
        shape = (len(rows), groups, slots.shape[1])
        # whole vectors of D are copied: many times faster than `gather` with an index for every number
        self._keys, self._values = (
            buffer.reshape(-1, buffer.shape[3]).index_select(0, index).view(*shape, buffer.shape[3])
            for buffer in (self._keys, self._values)
        )
        self.length = length

    def stack(self, other: "KeyRoom") -> None:
        """Take in the rows of another of the same layer, slot beside slot; the shorter one is filled up with zeros."""
        if other._keys is None or other._values is None:
            return
        assert self._keys is not None
        assert self._values is not None
        length = max(self.length, other.length)
        joined = []
        for mine, theirs in ((self._keys, other._keys), (self._values, other._values)):
            buffer = mine.new_zeros(mine.shape[0] + theirs.shape[0], mine.shape[1], roomy(length), mine.shape[3])
            buffer[: mine.shape[0], :, : self.length] = mine[:, :, : self.length]
            buffer[mine.shape[0] :, :, : other.length] = theirs[:, :, : other.length]
            joined.append(buffer)
        self._keys, self._values, self.length = *joined, length


class EvictingLayer(KeyRoom, CacheLayerMixin):
    """A full-attention layer of any transformers decoder."""

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()
        self.reserved = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.reserve(max(self.reserved, roomy(key_states.shape[2])), key_states, value_states)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        return self.append(key_states, value_states)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1

    def reset(self) -> None:
        self.length = 0


class EvictingHostMemory(KeyRoom, AttentionMemory):  # type: ignore[misc]  # as above
    """The same for an attention layer of the host; `seen` goes on counting what was read."""

    def __init__(self, empty: AttentionMemory, reserved: int = 0) -> None:
        AttentionMemory.__init__(self, empty.keys, empty.values, empty.conv)
        if reserved:
            self.reserve(reserved, empty.keys, empty.values)

    def reset(self) -> None:
        super().reset()
        self.length = 0
