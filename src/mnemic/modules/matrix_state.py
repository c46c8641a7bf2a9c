"""Mixers whose memory is one matrix per head: what they share around the recurrence that tells them apart."""

from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from mnemic.modules.memory import LayerMemory, Step
from mnemic.modules.mixer import Mixer, MixerConfig, real_tokens
from mnemic.modules.norms import GatedRMSNorm, RMSNorm
from mnemic.modules.short_convolution import ShortConvolution
from mnemic.ops.flash_linear_attention import Backend

__all__ = [
    "ExpandedStateConfig",
    "MatrixStateConfig",
    "MatrixStateMemory",
    "MatrixStateMixer",
    "default_heads",
    "whole_channels",
    "without_padding",
]


class MatrixStateConfig(MixerConfig):
    conv_size: int = Field(4, ge=0, description="taps of the short convolution on q, k and v; 0: none")
    norm_eps: float = Field(1e-5, gt=0, description="epsilon of the output norm")
    chunk_size: int | None = Field(
        None, ge=1, description="tokens of a chunk; changes speed, never results; None: what suits the device"
    )
    backend: Backend = Field("torch", description="torch, or fla: the kernels of flash-linear-attention, on CUDA only")


class ExpandedStateConfig(MatrixStateConfig):
    """Widths of keys and values as shares of the model's."""

    heads: int | None = Field(None, ge=1, description="heads; None: 4, or as many as have 32 key channels each")
    expand_k: float = Field(1.0, gt=0, description="channels of all queries over the width")
    expand_v: float = Field(1.0, gt=0, description="channels of all values over the width")

    @model_validator(mode="after")
    def _widths_are_whole(self) -> Self:
        whole_channels("expand_k", self.expand_k, self.width, self.resolved_heads)
        whole_channels("expand_v", self.expand_v, self.width, self.resolved_heads)
        return self

    @property
    def resolved_heads(self) -> int:
        return self.heads or default_heads(int(self.expand_k * self.width))

    @property
    def key_width(self) -> int:
        return int(self.expand_k * self.width / self.resolved_heads)

    @property
    def value_width(self) -> int:
        return int(self.expand_v * self.width / self.resolved_heads)


class MatrixStateMemory(LayerMemory):
    """state: [B, H, K, V] float32; conv: [B, J-1, C], the convolution's last inputs, if there is one."""

    def __init__(self, state: Tensor, conv: Tensor | None) -> None:
        super().__init__()
        self.state, self.conv = state, conv


class MatrixStateMixer(Mixer):
    """x -> q, k, v -> short convolution and SiLU -> recurrence over a matrix per head -> norm, gate -> out.

    A subclass gives the sizes and :meth:`recur`.

    Legend: B batch, T time, H heads, K key width, V value width, J taps, C = H (2 K + V) convolved channels,
    E what a subclass projects beside them.
    Memory: 4 H K V bytes and the convolution's last J-1 inputs per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = MatrixStateConfig
    activates: ClassVar[bool] = False  # whether SiLU stands on q, k and v where no convolution brings it

    def __init__(
        self, config: Any, layer_index: int, *, heads: int, key_width: int, value_width: int,
        gated: bool = True, normed: bool = True, beside: int = 0, state_shape: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        """`beside`: E; `state_shape`: what a head holds, where that is not [K, V]; a gate needs the norm."""
        super().__init__(config, layer_index)
        self.heads, self.key_width, self.value_width = heads, key_width, value_width
        self.state_shape = state_shape or (key_width, value_width)
        self.keys, self.values = heads * key_width, heads * value_width
        channels = 2 * self.keys + self.values
        self.parts = [channels, self.values if gated else 0, beside]
        self.proj = nn.Linear(config.width, sum(self.parts), bias=False)
        self.conv = ShortConvolution(channels, config.conv_size) if config.conv_size else None
        self.norm: RMSNorm | None = None
        if normed:
            self.norm = (GatedRMSNorm if gated else RMSNorm)(value_width, config.norm_eps)
        self.out = nn.Linear(self.values, config.width, bias=False)

    def recur(
        self, q: Tensor, k: Tensor, v: Tensor, beside: Tensor, state: Tensor | None, step: Step
    ) -> tuple[Tensor, Tensor]:
        """q, k: [B, H, T, K], v: [B, H, T, V], beside: [B, T, E] -> o: [B, H, T, V] and the state after them.

        Padding must neither write nor forget.
        """
        raise TypeError(f"{type(self).__name__} defines no recur")

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> MatrixStateMemory:
        wide = torch.promote_types(dtype, torch.float32)
        state = torch.zeros(batch_size, self.heads, *self.state_shape, device=device, dtype=wide)
        conv = self.conv.new_state(batch_size, device=device, dtype=dtype) if self.conv is not None else None
        return MatrixStateMemory(state, conv)

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        rows, columns = self.state_shape
        conv = self.conv.state_bytes(dtype) if self.conv is not None else 0
        return self.heads * rows * columns * torch.promote_types(dtype, torch.float32).itemsize + conv

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        memory, real = step.memory, real_tokens(step, x.shape[1])
        assert memory is None or isinstance(memory, MatrixStateMemory)
        mixed, gate, beside = self.proj(x).split(self.parts, dim=-1)
        if self.conv is not None:
            mixed, conv = self.conv(mixed, memory.conv if memory else None, real)
        else:
            mixed, conv = F.silu(mixed) if self.activates else mixed, None
        q, k, v = (self._heads_first(z) for z in mixed.split([self.keys, self.keys, self.values], dim=-1))
        o, state = self.recur(q, k, v, beside, memory.state if memory else None, step)
        if memory is not None:
            memory.state, memory.conv, memory.seen = state, conv, memory.seen + x.shape[1]
        y = o.transpose(1, 2).to(x.dtype)
        if isinstance(self.norm, GatedRMSNorm):
            y = self.norm(y, gate.unflatten(-1, (self.heads, self.value_width)))
        elif self.norm is not None:
            y = self.norm(y)
        return self.out(y.flatten(-2))

    def _heads_first(self, x: Tensor) -> Tensor:
        """[B, T, H D] -> [B, H, T, D]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def without_padding(x: Tensor, step: Step) -> Tensor:
    """[B, H, T] or [B, H, T, D], zero where a token of this call is padding."""
    real = real_tokens(step, x.shape[2])
    if real is None:
        return x
    return x * real.view(real.shape[0], 1, real.shape[1], *[1] * (x.ndim - 3)).to(x.dtype)


def default_heads(channels: int) -> int:
    """4 heads, or 2, or 1: as many as leave each 32 key channels, below which few pairs fit into a matrix."""
    return next((heads for heads in (4, 2) if channels % heads == 0 and channels // heads >= 32), 1)


def whole_channels(name: str, factor: float, width: int, heads: int = 1) -> int:
    """factor * width / heads, as an option `name` of a config gives it.

    Raises:
        ValueError: that is no whole number.
    """
    channels = factor * width / heads
    if not channels.is_integer() or channels < 1:
        spread = f" over {heads} heads" if heads > 1 else ""
        raise ValueError(f"{name} {factor:g} times a width of {width}{spread} is no whole number of channels")
    return int(channels)
