"""Mamba-2: a decaying state per head, written by input-dependent steps (Dao & Gu 2024, arXiv 2405.21060)."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import initialization as init

from mnemic.modules.memory import LayerMemory, Step
from mnemic.modules.mixer import Mixer, MixerConfig, real_tokens
from mnemic.modules.norms import GatedRMSNorm
from mnemic.modules.short_convolution import ShortConvolution
from mnemic.ops.decayed_linear_attention import decayed_linear_attention
from mnemic.ops.flash_linear_attention import Backend

__all__ = ["Mamba2", "Mamba2Config", "Mamba2Memory"]


class Mamba2Config(MixerConfig):
    expand: int = Field(2, ge=1, description="inner width over outer width")
    head_width: int | None = Field(None, ge=1, description="channels of a head, P; None: 64, or 32 below width 128")
    state: int | None = Field(None, ge=1, description="state size of a channel, N; None: 128, or 64 below width 128")
    groups: int = Field(1, ge=1, description="groups of heads that share B and C")
    conv_size: int = Field(4, ge=0, description="taps of the short convolution on x, B and C; 0: none")
    conv_bias: bool = Field(True, description="bias in the convolution")
    bias: bool = Field(False, description="biases in the projections")
    dt_min: float = Field(1e-3, gt=0, description="smallest step at the start of training")
    dt_max: float = Field(1e-1, gt=0, description="largest step at the start of training")
    dt_limit: tuple[float, float | None] = Field((0.0, None), description="bounds of the step; None: unbounded above")
    norm_eps: float = Field(1e-5, gt=0, description="epsilon of the output norm")
    chunk_size: int = Field(64, ge=1, description="tokens of a chunk; changes speed, never results")
    backend: Backend = Field("torch", description="torch, or fla: the kernels of flash-linear-attention, on CUDA only")

    @model_validator(mode="after")
    def _heads_fit(self) -> "Mamba2Config":
        if self.inner % self.resolved_head_width:
            raise ValueError(f"inner width {self.inner} is not divisible by head_width {self.resolved_head_width}")
        if self.heads % self.groups:
            raise ValueError(f"groups {self.groups} does not divide the number of heads {self.heads}")
        return self

    @property
    def inner(self) -> int:
        return self.expand * self.width

    @property
    def resolved_head_width(self) -> int:
        return self.head_width or (64 if self.width >= 128 else 32)

    @property
    def resolved_state(self) -> int:
        return self.state or (128 if self.width >= 128 else 64)

    @property
    def heads(self) -> int:
        return self.inner // self.resolved_head_width


class Mamba2Memory(LayerMemory):
    """state: [B, H, N, P] float32; conv: [B, J-1, C], the convolution's last inputs, if there is one."""

    def __init__(self, state: Tensor, conv: Tensor | None) -> None:
        super().__init__()
        self.state, self.conv = state, conv


class Mamba2(Mixer):
    """h_t = exp(-exp(A_log) dt_t) h_{t-1} + dt_t B_t x_t^T,  y_t = h_t^T C_t + D x_t  (section 7 of the paper).

    In words of linear attention: C asks, B is the key, dt x the value, and the decay is one number per head and token.

    Legend: B batch, T time, H heads, P head width, N state size, G groups, J taps.
    Memory: 4 H P N bytes and the convolution's last J-1 inputs per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = Mamba2Config
    rescales_out: ClassVar[bool] = True

    def __init__(self, config: Mamba2Config, layer_index: int) -> None:
        super().__init__(config, layer_index)
        self.heads, self.state_size, self.groups = config.heads, config.resolved_state, config.groups
        self.inner, self.shared = config.inner, config.groups * config.resolved_state
        channels = self.inner + 2 * self.shared
        self.proj = nn.Linear(config.width, self.inner + channels + self.heads, bias=config.bias)
        self.conv = ShortConvolution(channels, config.conv_size, config.conv_bias) if config.conv_size else None
        self.A_log, self.dt_bias, self.D = (nn.Parameter(torch.empty(self.heads)) for _ in range(3))
        self.norm = GatedRMSNorm(self.inner, config.norm_eps, gate_first=True, groups=config.groups)
        self.out = nn.Linear(self.inner, config.width, bias=config.bias)
        self.init_own_parameters()

    @torch.no_grad()
    def init_own_parameters(self) -> None:
        init.copy_(self.A_log, torch.empty_like(self.A_log).uniform_(1, 16).log())
        init.copy_(self.dt_bias, inverse_softplus_of_steps(self.dt_bias, self.config.dt_min, self.config.dt_max))
        init.ones_(self.D)

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> Mamba2Memory:
        wide = torch.promote_types(dtype, torch.float32)
        shape = (batch_size, self.heads, self.state_size, self.inner // self.heads)
        conv = self.conv.new_state(batch_size, device=device, dtype=dtype) if self.conv is not None else None
        return Mamba2Memory(torch.zeros(shape, device=device, dtype=wide), conv)

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        wide = torch.promote_types(dtype, torch.float32)
        conv = self.conv.state_bytes(dtype) if self.conv is not None else 0
        return self.inner * self.state_size * wide.itemsize + conv

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        memory, real = step.memory, real_tokens(step, x.shape[1])
        assert memory is None or isinstance(memory, Mamba2Memory)
        z, mixed, dt = self.proj(x).split([self.inner, self.inner + 2 * self.shared, self.heads], dim=-1)
        if self.conv is not None:
            mixed, conv = self.conv(mixed, memory.conv if memory else None, real)
        else:
            mixed, conv = F.silu(mixed), None
        u, b, c = mixed.split([self.inner, self.shared, self.shared], dim=-1)
        dt = F.softplus(dt.to(torch.promote_types(dt.dtype, torch.float32)) + self.dt_bias).clamp(*self.config.dt_limit)
        if real is not None:  # a step of length zero neither writes nor forgets
            dt = dt * real[..., None]
        u = u.unflatten(-1, (self.heads, -1))
        o, state = decayed_linear_attention(
            self._heads_first(c), self._heads_first(b),
            (u * dt[..., None]).transpose(1, 2), (dt * -self.A_log.to(dt.dtype).exp()).transpose(1, 2),
            memory.state if memory else None, self.config.chunk_size, backend=self.config.backend,
        )  # fmt: skip
        if memory is not None:
            memory.state, memory.conv, memory.seen = state, conv, memory.seen + x.shape[1]
        y = o.transpose(1, 2) + self.D.to(o.dtype)[:, None] * u
        return self.out(self.norm(y.flatten(-2).to(x.dtype), z))

    def _heads_first(self, x: Tensor) -> Tensor:
        """[B, T, G N] -> [B, G, T, N]."""
        return x.unflatten(-1, (self.groups, -1)).transpose(1, 2)


def inverse_softplus_of_steps(like: Tensor, smallest: float, largest: float, floor: float = 1e-4) -> Tensor:
    """Biases whose softplus is log-uniform in [smallest, largest], as Mamba-2 and Gated DeltaNet start their steps."""
    span = torch.empty_like(like, dtype=torch.float32).uniform_(math.log(smallest), math.log(largest))
    steps = span.exp().clamp(min=floor)
    return steps + torch.log(-torch.expm1(-steps))
