"""Softmax attention with rotary positions and grouped queries: the memory that forgets nothing and grows."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mnemic.modules.memory import LayerMemory, Step
from mnemic.modules.mixer import Mixer, MixerConfig, real_tokens
from mnemic.modules.norms import RMSNorm
from mnemic.modules.rotary import apply_rotary, rotary_frequencies
from mnemic.modules.short_convolution import ShortConvolution
from mnemic.ops.attention import attention, visible_by_position

__all__ = ["Attention", "AttentionConfig", "AttentionMemory", "QueryKeyValue"]


class AttentionConfig(MixerConfig):
    heads: int = Field(4, ge=1, description="query heads")
    kv_heads: int | None = Field(
        None, ge=1, description="key and value heads, a divisor of heads; None: as many as heads"
    )
    head_width: int | None = Field(None, ge=2, multiple_of=2, description="channels of a head; None: width / heads")
    rope: bool = Field(True, description="rotary positions")
    rope_theta: float = Field(10000.0, gt=0, description="base of the rotary frequencies")
    rope_scaling: Mapping[str, Any] | None = Field(
        None, description="rotary scaling as in transformers: linear or llama3"
    )
    qk_norm: bool = Field(False, description="norm queries and keys per head before rotating them, as Qwen3")
    conv_size: int = Field(0, ge=0, description="taps of the short convolution on queries, keys and values; 0: none")
    bias: bool = Field(False, description="biases in the projections")
    norm_eps: float = Field(1e-6, gt=0, description="epsilon of the query and key norms")

    @model_validator(mode="after")
    def _heads_fit(self) -> "AttentionConfig":
        if self.head_width is None and (self.width % self.heads or self.width // self.heads % 2):
            raise ValueError(
                f"width {self.width} does not split into {self.heads} heads of an even size; set heads or head_width"
            )
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"kv_heads {self.kv_heads} does not divide heads {self.heads}")
        return self


class AttentionMemory(LayerMemory):
    """keys, values: [B, G, S, D], keys already rotated; conv: [B, J-1, C], its last inputs."""

    def __init__(self, keys: Tensor, values: Tensor, conv: Tensor | None) -> None:
        super().__init__()
        self.keys, self.values, self.conv = keys, values, conv

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Hold [B, G, T, D] more; all keys and values that are held then."""
        self.keys, self.values = torch.cat([self.keys, k], dim=2), torch.cat([self.values, v], dim=2)
        return self.keys, self.values

    def reset(self) -> None:
        super().reset()
        self.keys, self.values = self.keys[:, :, :0], self.values[:, :, :0]


class QueryKeyValue(nn.Module):
    """Queries, keys and values of attention: one projection, optional convolution and norms, rotary positions.

    Legend: B batch, T time, H query heads, G key heads, D head width.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.head_width = config.head_width or config.width // config.heads
        self.heads, self.kv_heads = config.heads, config.kv_heads or config.heads
        channels = (self.heads + 2 * self.kv_heads) * self.head_width
        self.proj = nn.Linear(config.width, channels, bias=config.bias)
        self.conv = ShortConvolution(channels, config.conv_size) if config.conv_size else None
        self.q_norm, self.k_norm = (RMSNorm(self.head_width, config.norm_eps) if config.qk_norm else None for _ in "qk")

    def forward(
        self, x: Tensor, positions: Tensor, conv_state: Tensor | None, real: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """x: [B, T, width] -> q [B, H, T, D], k and v [B, G, T, D], new convolution state."""
        mixed = self.proj(x)
        if self.conv is not None:
            mixed, conv_state = self.conv(mixed, conv_state, real)
        heads = mixed.unflatten(-1, (-1, self.head_width)).transpose(1, 2)
        asked_and_held, v = heads.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = asked_and_held.split([self.heads, self.kv_heads], dim=1)
            asked_and_held = torch.cat([self.q_norm(q), self.k_norm(k)], dim=1)
        if self.config.rope:  # queries and keys in one pass
            frequencies = rotary_frequencies(
                self.head_width, self.config.rope_theta, self.config.rope_scaling, x.device
            )
            asked_and_held = apply_rotary(asked_and_held, positions, frequencies)
        q, k = asked_and_held.split([self.heads, self.kv_heads], dim=1)
        return q, k, v, conv_state

    def keys_values_unrotated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, G, T, D] of tokens that stand at no position and see no neighbour."""
        heads = self.proj(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
        _, k, v = heads.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        return (self.k_norm(k) if self.k_norm is not None else k), v

    def new_conv_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        return self.conv.new_state(batch_size, device=device, dtype=dtype) if self.conv is not None else None

    def memory_bytes(self, tokens: int, dtype: torch.dtype) -> int:
        """Bytes of the keys and values of that many tokens, and of the convolution's state."""
        conv = self.conv.state_bytes(dtype) if self.conv is not None else 0
        return 2 * tokens * self.kv_heads * self.head_width * dtype.itemsize + conv


class Attention(Mixer):
    """o_t = sum_{s<=t} softmax_s(q_t . k_s / sqrt(D)) v_s (Vaswani et al. 2017, arXiv 1706.03762, eq. 1).

    Legend: B batch, T time, S tokens so far, H query heads, G key heads, D head width.
    Memory: 2 S G D values per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = AttentionConfig

    def __init__(self, config: AttentionConfig, layer_index: int) -> None:
        super().__init__(config, layer_index)
        self.qkv = QueryKeyValue(config)
        self.out = nn.Linear(config.heads * self.qkv.head_width, config.width, bias=config.bias)

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> AttentionMemory:
        shape = (batch_size, self.qkv.kv_heads, 0, self.qkv.head_width)
        keys, values = (torch.zeros(shape, device=device, dtype=dtype) for _ in "kv")
        return AttentionMemory(keys, values, self.qkv.new_conv_state(batch_size, device, dtype))

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        return self.qkv.memory_bytes(length, dtype)

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        time, memory = x.shape[1], step.memory
        assert memory is None or isinstance(memory, AttentionMemory)
        positions = step.query_positions(x)
        q, k, v, conv = self.qkv(x, positions, memory.conv if memory else None, real_tokens(step, time))
        if memory is not None:
            k, v = memory.append(k, v)
            memory.conv, memory.seen = conv, memory.seen + time
        o = attention(q, k, v, *self._who_sees_whom(step, time, k.shape[2], x.device))
        return self.out(o.transpose(1, 2).flatten(-2))

    @staticmethod
    def _who_sees_whom(step: Step, time: int, keys: int, device: torch.device) -> tuple[Tensor | None, None, bool]:
        """(mask, default scale, causal) as `attention` takes them, without a mask wherever none is needed."""
        if step.visible is None and step.padding_mask is None and (time == keys or time == 1):
            return None, None, time == keys and time > 1
        if step.visible is not None:
            return step.visible, None, False
        slots = torch.arange(keys, device=device)[None]
        if step.padding_mask is None:
            return visible_by_position(slots[:, -time:], slots), None, False
        visible = visible_by_position(slots[:, -time:], slots) & step.padding_mask[:, None, None, :]
        # what a padded query returns is not defined, but it must be finite
        return visible | torch.eye(keys, dtype=torch.bool, device=device)[-time:], None, False
