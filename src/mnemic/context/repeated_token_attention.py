"""Repeated-token attention: attention only where the current token has stood in the row before.

The programmatic input-dependent hybrid of Arora et al. 2023 (arXiv 2312.04927).
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from mnemic.context.attention import Attention, AttentionConfig, AttentionMemory
from mnemic.errors import UsageError
from mnemic.modules.memory import Step
from mnemic.modules.mixer import MixerConfig, real_tokens
from mnemic.ops.attention import attention, visible_by_position
from mnemic.ops.repeated_tokens import repeated_tokens

__all__ = ["RepeatedTokenAttention", "RepeatedTokenAttentionConfig", "RepeatedTokenAttentionMemory"]

NO_TOKEN = -1


class RepeatedTokenAttentionConfig(AttentionConfig):
    ignored: int | None = Field(None, ge=0, description="an id that never counts as repeated, such as a task's filler")


class RepeatedTokenAttentionMemory(AttentionMemory):
    """As attention's, and ids: [B, S] int64, the tokens read; -1 for padding and the ignored id."""

    def __init__(self, keys: Tensor, values: Tensor, conv: Tensor | None, ids: Tensor) -> None:
        super().__init__(keys, values, conv)
        self.ids = ids

    def reset(self) -> None:
        super().reset()
        self.ids = self.ids[:, :0]


class RepeatedTokenAttention(Attention):
    """o_t = Attention(x)_t where x_t's token stands at some s < t of the row, 0 elsewhere (section 5 of the paper).

    The test is exact, on ids, and has no parameters; queries are formed at the chosen positions only, so M of them
    cost O(M T) instead of O(T^2). Keys and values are kept for every token.

    Legend: B batch, T time, S tokens so far, M chosen positions, H query heads, G key heads, D head width.
    Memory: 2 S G D values and S ids (8 bytes each) per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = RepeatedTokenAttentionConfig

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> RepeatedTokenAttentionMemory:
        held = super().new_memory(batch_size, device=device, dtype=dtype)
        ids = torch.zeros(batch_size, 0, device=device, dtype=torch.int64)
        return RepeatedTokenAttentionMemory(held.keys, held.values, held.conv, ids)

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        return super().memory_bytes(length, dtype) + length * torch.int64.itemsize

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        time, memory = x.shape[1], step.memory
        assert memory is None or isinstance(memory, RepeatedTokenAttentionMemory)
        ids = self._countable_ids(step, time)
        chosen = repeated_tokens(ids, memory.ids if memory else None)
        q, k, v, conv = self.qkv(x, step.query_positions(x), memory.conv if memory else None, real_tokens(step, time))
        if memory is not None:
            k, v = torch.cat([memory.keys, k], dim=2), torch.cat([memory.values, v], dim=2)
            memory.keys, memory.values, memory.conv, memory.seen = k, v, conv, memory.seen + time
            memory.ids = torch.cat([memory.ids, ids], dim=1)
        return self._attend_where(chosen, q, k, v, step.padding_mask)

    def _countable_ids(self, step: Step, time: int) -> Tensor:
        """[B, T]: the ids of this call, -1 for those that never count."""
        if step.input_ids is None:
            raise UsageError("repeated-token-attention compares tokens: give the model input_ids, not inputs_embeds")
        ids, real = step.input_ids, real_tokens(step, time)
        if self.config.ignored is not None:
            ids = ids.masked_fill(ids == self.config.ignored, NO_TOKEN)
        return ids if real is None else ids.masked_fill(~real, NO_TOKEN)

    def _attend_where(self, chosen: Tensor, q: Tensor, k: Tensor, v: Tensor, padding_mask: Tensor | None) -> Tensor:
        """chosen: [B, T], q: [B, H, T, D], k and v: [B, G, S, D] -> [B, T, width], zero where not chosen."""
        batch, heads, time, head_width = q.shape
        y = q.new_zeros(batch, time, self.out.out_features)
        count = int(chosen.sum(1).max())
        if count == 0:
            return y
        # rows with fewer chosen positions are filled up with others, whose results are thrown away
        where = chosen.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
        q = q.gather(2, where[:, None, :, None].expand(-1, heads, -1, head_width))
        slots = torch.arange(k.shape[2], device=q.device)[None]
        asking = where + (k.shape[2] - time)
        visible = visible_by_position(asking, slots)
        if padding_mask is not None:
            itself = asking[:, None, :, None] == slots[:, None, None, :]  # finite where a fill stands on padding
            visible = (visible & padding_mask[:, None, None, :]) | itself
        o = self.out(attention(q, k, v, visible).transpose(1, 2).flatten(-2))
        o = o * chosen.gather(1, where)[..., None].to(o.dtype)
        return y.to(o.dtype).scatter(1, where[..., None].expand_as(o), o)
