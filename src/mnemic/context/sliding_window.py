"""Sliding-window attention: the last W tokens, and a learned prefix that is always visible."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import initialization as init

from mnemic.context.attention import AttentionConfig, QueryKeyValue
from mnemic.modules.memory import LayerMemory, Step
from mnemic.modules.mixer import Mixer, MixerConfig, real_tokens
from mnemic.ops.attention import attention, visible_by_position, windowed_attention

__all__ = ["SlidingWindow", "SlidingWindowConfig", "SlidingWindowMemory"]


class SlidingWindowConfig(AttentionConfig):
    window: int = Field(64, ge=1, description="tokens seen, the current one among them")
    prefix: int = Field(0, ge=0, description="learned tokens that every token sees (Titans' persistent memory)")


class SlidingWindowMemory(LayerMemory):
    """The last min(S, W) real tokens: keys, values [B, G, W, D], keys already rotated, and their positions [B, W].

    A position of -1 marks a slot that holds no token. conv: as in attention.
    """

    def __init__(self, keys: Tensor, values: Tensor, positions: Tensor, conv: Tensor | None) -> None:
        super().__init__()
        self.keys, self.values, self.positions, self.conv = keys, values, positions, conv

    def reset(self) -> None:
        super().reset()
        self.keys, self.values, self.positions = self.keys[:, :, :0], self.values[:, :, :0], self.positions[:, :0]

    def extended(self, k: Tensor, v: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is held and what is new, in order of time: [B, G, S, D] twice and [B, S]."""
        together = torch.cat([self.positions, positions], dim=1)
        return torch.cat([self.keys, k], dim=2), torch.cat([self.values, v], dim=2), together

    def keep_last(self, k: Tensor, v: Tensor, positions: Tensor, window: int) -> None:
        """Hold the last `window` real tokens of these, whatever padding lies between them."""
        if bool((positions < 0).any()):
            order = (positions >= 0).to(torch.int8).argsort(dim=1, stable=True)  # padding first, then time
            index = order[:, None, :, None].expand_as(k)
            k, v, positions = k.gather(2, index), v.gather(2, index), positions.gather(1, order)
        # a copy: a view would keep the whole prompt alive
        self.keys, self.values = k[:, :, -window:].clone(), v[:, :, -window:].clone()
        self.positions = positions[:, -window:].clone()


class SlidingWindow(Mixer):
    """Softmax attention of token t to s in [t-W+1, t] (Beltagy et al. 2020, arXiv 2004.05150), and to P learned tokens.

    The learned tokens live in the residual stream's space, are projected like any token, and carry no rotation.

    Legend: B batch, T time, W window, P prefix, H query heads, G key heads, D head width.
    Memory: 2 min(T, W) G D values and min(T, W) positions per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = SlidingWindowConfig

    def __init__(self, config: SlidingWindowConfig, layer_index: int) -> None:
        super().__init__(config, layer_index)
        self.window = config.window
        self.qkv = QueryKeyValue(config)
        self.out = nn.Linear(config.heads * self.qkv.head_width, config.width, bias=config.bias)
        self.prefix = nn.Parameter(torch.randn(config.prefix, config.width)) if config.prefix else None

    def init_own_parameters(self) -> None:
        if self.prefix is not None:
            init.normal_(self.prefix)  # the size of what it stands beside: normed tokens

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> SlidingWindowMemory:
        shape = (batch_size, self.qkv.kv_heads, 0, self.qkv.head_width)
        keys, values = (torch.zeros(shape, device=device, dtype=dtype) for _ in "kv")
        positions = torch.zeros(batch_size, 0, device=device, dtype=torch.int64)
        return SlidingWindowMemory(keys, values, positions, self.qkv.new_conv_state(batch_size, device, dtype))

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        held = min(length, self.window)
        return self.qkv.memory_bytes(held, dtype) + held * torch.int64.itemsize

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        batch, time, _ = x.shape
        memory, real = step.memory, real_tokens(step, time)
        assert memory is None or isinstance(memory, SlidingWindowMemory)
        positions = step.query_positions(x).expand(batch, -1)
        q, k, v, conv = self.qkv(x, positions, memory.conv if memory else None, real)
        # the window counts tokens read, so that holes in the logical positions (evicted spans) do not widen it
        slots = self._slots(step, time, batch, x.device)
        if memory is not None:
            k, v, slots = memory.extended(k, v, slots)
        o = self._attend(q, k, v, slots, padded=real is not None)
        if memory is not None:
            memory.keep_last(k, v, slots, self.window)
            memory.conv, memory.seen = conv, memory.seen + time
        return self.out(o.transpose(1, 2).flatten(-2))

    @staticmethod
    def _slots(step: Step, time: int, batch: int, device: torch.device) -> Tensor:
        """[B, T]: how many real tokens came before each token; -1 on padding."""
        if step.padding_mask is None:
            start = step.memory.seen if step.memory is not None else 0
            return torch.arange(start, start + time, device=device).expand(batch, -1)
        counted = step.padding_mask.to(torch.int64).cumsum(1) - 1
        return counted.masked_fill(~step.padding_mask, -1)[:, -time:]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, slots: Tensor, padded: bool) -> Tensor:
        prefix = self._prefix_keys_values(q.shape[0])
        if not padded and not bool((slots < 0).any()):
            return windowed_attention(q, k, v, self.window, prefix)
        time = q.shape[2]
        visible = visible_by_position(slots[:, -time:], slots, self.window)
        # what a padded query returns is not defined, but it must be finite
        visible = visible | torch.eye(slots.shape[1], dtype=torch.bool, device=q.device)[-time:]
        if prefix is not None:
            visible = torch.cat([visible.new_ones(*visible.shape[:3], prefix[0].shape[2]), visible], dim=-1)
            k, v = torch.cat([prefix[0], k], dim=2), torch.cat([prefix[1], v], dim=2)
        return attention(q, k, v, visible)

    def _prefix_keys_values(self, batch: int) -> tuple[Tensor, Tensor] | None:
        if self.prefix is None:
            return None
        k, v = self.qkv.keys_values_unrotated(self.prefix[None])
        return k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)
