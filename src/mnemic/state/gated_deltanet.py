"""Gated DeltaNet: a decaying state that erases what a key held before it writes (Yang et al. 2024, arXiv 2412.06464).

allow_neg_eigval follows Grazzi et al. 2024 (arXiv 2411.12537).
"""

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
from mnemic.ops.gated_delta_rule import gated_delta_rule
from mnemic.state.mamba2 import inverse_softplus_of_steps

__all__ = ["GatedDeltaNet", "GatedDeltaNetConfig", "GatedDeltaNetMemory"]

PUBLISHED_HEAD_WIDTH = 256


class GatedDeltaNetConfig(MixerConfig):
    heads: int | None = Field(None, ge=1, description="heads; None: 3/4 width in heads of 256, and at least 2")
    head_width: int | None = Field(
        None, ge=1, description="channels of a query or key, K; None: 3/4 width over the heads, up to a multiple of 8"
    )
    expand_v: float = Field(2.0, gt=0, description="channels of a value over those of a key")
    conv_size: int = Field(4, ge=0, description="taps of the short convolution on q, k and v; 0: none")
    allow_neg_eigval: bool = Field(
        False, description="beta in (0, 2): a write may overshoot, which tracks state better"
    )
    dt_min: float = Field(1e-3, gt=0, description="smallest step of the decay at the start of training")
    dt_max: float = Field(1e-1, gt=0, description="largest step of the decay at the start of training")
    norm_eps: float = Field(1e-5, gt=0, description="epsilon of the output norm")
    chunk_size: int | None = Field(
        None, ge=1, description="tokens of a chunk; changes speed, never results; None: 32 on a CPU, 64 elsewhere"
    )

    @model_validator(mode="after")
    def _values_are_whole(self) -> "GatedDeltaNetConfig":
        if not float(self.expand_v * self.key_width).is_integer():
            raise ValueError(
                f"expand_v {self.expand_v} times a head width of {self.key_width} is no whole number of channels"
            )
        return self

    @property
    def resolved_heads(self) -> int:
        return self.heads or max(2, round(0.75 * self.width / PUBLISHED_HEAD_WIDTH))

    @property
    def key_width(self) -> int:
        return self.head_width or -(-int(0.75 * self.width) // (8 * self.resolved_heads)) * 8

    @property
    def value_width(self) -> int:
        return int(self.expand_v * self.key_width)


class GatedDeltaNetMemory(LayerMemory):
    """state: [B, H, K, V] float32; conv: [B, J-1, C], the convolution's last inputs, if there is one."""

    def __init__(self, state: Tensor, conv: Tensor | None) -> None:
        super().__init__()
        self.state, self.conv = state, conv


class GatedDeltaNet(Mixer):
    """S_t = alpha_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T,  o_t = S_t^T q_t / sqrt(K)  (eq. 10).

    alpha_t = exp(-exp(A_log) softplus(a_t + dt_bias)) and beta_t = sigmoid(b_t) are one number per head and token;
    queries and keys have length 1; outputs are normed per head and gated.

    Legend: B batch, T time, H heads, K key width, V value width, J taps, C = H (2 K + V) convolved channels.
    Memory: 4 H K V bytes and the convolution's last J-1 inputs per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = GatedDeltaNetConfig

    def __init__(self, config: GatedDeltaNetConfig, layer_index: int) -> None:
        super().__init__(config, layer_index)
        self.heads, self.key_width, self.value_width = config.resolved_heads, config.key_width, config.value_width
        self.keys, self.values = self.heads * self.key_width, self.heads * self.value_width
        channels = 2 * self.keys + self.values
        self.proj = nn.Linear(config.width, channels + self.values + 2 * self.heads, bias=False)
        self.conv = ShortConvolution(channels, config.conv_size) if config.conv_size else None
        self.A_log, self.dt_bias = (nn.Parameter(torch.empty(self.heads)) for _ in range(2))
        self.norm = GatedRMSNorm(self.value_width, config.norm_eps)
        self.out = nn.Linear(self.values, config.width, bias=False)
        self.init_own_parameters()

    @torch.no_grad()
    def init_own_parameters(self) -> None:
        # uniform from 0, as published; a draw of exactly 0 would leave a log of -inf that no gradient moves
        rates = torch.empty_like(self.A_log).uniform_(0, 16).clamp(min=torch.finfo(torch.float32).tiny)
        init.copy_(self.A_log, rates.log())
        init.copy_(self.dt_bias, inverse_softplus_of_steps(self.dt_bias, self.config.dt_min, self.config.dt_max))

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> GatedDeltaNetMemory:
        wide = torch.promote_types(dtype, torch.float32)
        state = torch.zeros(batch_size, self.heads, self.key_width, self.value_width, device=device, dtype=wide)
        conv = self.conv.new_state(batch_size, device=device, dtype=dtype) if self.conv is not None else None
        return GatedDeltaNetMemory(state, conv)

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        wide = torch.promote_types(dtype, torch.float32)
        conv = self.conv.state_bytes(dtype) if self.conv is not None else 0
        return self.heads * self.key_width * self.value_width * wide.itemsize + conv

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        memory, real = step.memory, real_tokens(step, x.shape[1])
        assert memory is None or isinstance(memory, GatedDeltaNetMemory)
        channels = 2 * self.keys + self.values
        mixed, gate, b, a = self.proj(x).split([channels, self.values, self.heads, self.heads], dim=-1)
        if self.conv is not None:
            mixed, conv = self.conv(mixed, memory.conv if memory else None, real)
        else:
            mixed, conv = F.silu(mixed), None
        q, k, v = (self._heads_first(z) for z in mixed.split([self.keys, self.keys, self.values], dim=-1))
        beta, log_decay = self._gates(b, a, real)
        o, state = gated_delta_rule(
            q,
            k,
            v,
            beta,
            log_decay,
            memory.state if memory else None,
            normalise=True,
            chunk_size=self.config.chunk_size,
        )
        if memory is not None:
            memory.state, memory.conv, memory.seen = state, conv, memory.seen + x.shape[1]
        y = self.norm(o.transpose(1, 2), gate.unflatten(-1, (self.heads, self.value_width)))
        return self.out(y.flatten(-2))

    def _gates(self, b: Tensor, a: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """b, a: [B, T, H] -> beta and log alpha: [B, H, T], in float32 at least; padding neither writes nor forgets."""
        wide = torch.promote_types(a.dtype, torch.float32)
        beta = b.to(wide).sigmoid() * (2.0 if self.config.allow_neg_eigval else 1.0)
        log_decay = -self.A_log.to(wide).exp() * F.softplus(a.to(wide) + self.dt_bias)
        if real is not None:
            beta, log_decay = beta * real[..., None], log_decay * real[..., None]
        return beta.transpose(1, 2), log_decay.transpose(1, 2)

    def _heads_first(self, x: Tensor) -> Tensor:
        """[B, T, H D] -> [B, H, T, D]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
