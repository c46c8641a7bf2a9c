"""H3: a shift that lets a key meet its value, and a diagonal state-space model that keeps them (arXiv 2212.14052)."""

import math
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import initialization as init

from mnemic.modules.memory import LayerMemory, Step
from mnemic.modules.mixer import Mixer, MixerConfig, real_tokens
from mnemic.modules.past_inputs import at_the_end, back_in_place
from mnemic.modules.short_convolution import ShortConvolution
from mnemic.ops.diagonal_ssm import diagonal_ssm

__all__ = ["H3", "H3Config", "H3Memory"]


class H3Config(MixerConfig):
    head_width: int = Field(2, ge=1, description="channels of a head, of which keys and values form all products")
    state: int | None = Field(
        None, ge=2, multiple_of=2, description="state size of a product, N; None: a quarter of the width, at least 16"
    )
    conv_size: int = Field(4, ge=0, description="taps of the shift on the keys; 0: none")
    dt_min: float = Field(1e-3, gt=0, description="smallest step of a head at the start of training")
    dt_max: float = Field(1e-1, gt=0, description="largest step of a head at the start of training")

    @model_validator(mode="after")
    def _heads_fit(self) -> "H3Config":
        if self.width % self.head_width:
            raise ValueError(f"head_width {self.head_width} does not divide the width {self.width}")
        return self

    @property
    def resolved_state(self) -> int:
        return self.state or max(16, self.width // 8 * 2)


class H3Memory(LayerMemory):
    """state: [B, H, N/2, P P] complex64; conv: [B, J-1, width], the last keys, if they are shifted."""

    def __init__(self, state: Tensor, conv: Tensor | None) -> None:
        super().__init__()
        self.state, self.conv = state, conv


class H3(Mixer):
    """y_t = W (q_t . s_t),  s = SSM_diag(k v^T) + D k v^T,  k = SSM_shift(W_k u)  (Fu et al. 2022).

    Per head, keys and values of P channels form P P products; one diagonal model of N real numbers, N/2 modes that
    fade and turn (S4D-Lin: rates -1/2 + i pi n, times a step per head), keeps them all, and the query reads them. It is
    linear attention whose weights fade along a learned curve of distance. The shift is a convolution of J taps; its
    feed-through is the tap of the current token.

    Legend: B batch, T time, H heads, P head width, N state size, J taps.
    Memory: 4 width P N bytes and the last J-1 keys per sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = H3Config

    def __init__(self, config: H3Config, layer_index: int) -> None:
        super().__init__(config, layer_index)
        self.heads, self.modes = config.width // config.head_width, config.resolved_state // 2
        self.proj = nn.Linear(config.width, 3 * config.width)
        self.conv = ShortConvolution(config.width, config.conv_size, silu=False) if config.conv_size else None
        self.log_dt, self.D = (nn.Parameter(torch.empty(self.heads)) for _ in range(2))
        self.log_fading, self.turning = (nn.Parameter(torch.empty(self.heads, self.modes)) for _ in range(2))
        self.C = nn.Parameter(torch.empty(self.heads, self.modes, 2))
        self.out = nn.Linear(config.width, config.width)
        self.init_own_parameters()

    @torch.no_grad()
    def init_own_parameters(self) -> None:
        init.uniform_(self.log_dt, math.log(self.config.dt_min), math.log(self.config.dt_max))
        init.normal_(self.D)
        init.constant_(self.log_fading, math.log(0.5))
        init.copy_(self.turning, (math.pi * torch.arange(self.modes)).expand_as(self.turning))
        init.normal_(self.C, std=0.5**0.5)

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> H3Memory:
        shape = (batch_size, self.heads, self.modes, self.config.head_width**2)
        conv = self.conv.new_state(batch_size, device=device, dtype=dtype) if self.conv is not None else None
        return H3Memory(torch.zeros(shape, device=device, dtype=_complex(dtype)), conv)

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        conv = self.conv.state_bytes(dtype) if self.conv is not None else 0
        return self.config.width * self.config.head_width * self.modes * _complex(dtype).itemsize + conv

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        memory, real = step.memory, real_tokens(step, x.shape[1])
        assert memory is None or isinstance(memory, H3Memory)
        q, k, v = self.proj(x).chunk(3, dim=-1)
        conv = None
        if self.conv is not None:
            k, conv = self.conv(k, memory.conv if memory else None, real)
        wide = torch.promote_types(x.dtype, torch.float32)
        q, k, v = (z.to(wide).unflatten(-1, (self.heads, -1)) for z in (q, k, v))
        products = (k[..., :, None] * v[..., None, :]).flatten(-2)  # [B, T, H, P P]
        kept, state = self._keep(products, memory.state if memory else None, real)
        read = (kept + self.D.to(wide)[:, None] * products).unflatten(-1, (-1, v.shape[-1]))
        if memory is not None:
            assert state is not None
            memory.state, memory.conv, memory.seen = state, conv, memory.seen + x.shape[1]
        return self.out((q[..., None, :] @ read).flatten(-3).to(x.dtype))

    def _keep(self, u: Tensor, state: Tensor | None, real: Tensor | None) -> tuple[Tensor, Tensor | None]:
        log_decay, weight = self.modes_of(u.dtype)
        if real is None:
            return diagonal_ssm(u, log_decay, weight, state)
        # the model fades by distance: padding between the state and a row's tokens would count as one
        moved = at_the_end(u.flatten(2), real).unflatten(2, u.shape[2:])
        y, state = diagonal_ssm(moved, log_decay, weight, state, real.sum(1))
        return back_in_place(y.flatten(2), real).unflatten(2, u.shape[2:]), state

    def modes_of(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """[H, N/2] complex, twice: log decay per token, and the weight of each mode (zero-order hold)."""
        rate = torch.complex(-self.log_fading.to(dtype).exp(), self.turning.to(dtype))
        log_decay = rate * self.log_dt.to(dtype).exp()[:, None]
        # of each conjugate pair one mode is kept, and counted twice
        return log_decay, 2 * torch.view_as_complex(self.C.to(dtype)) * (log_decay.exp() - 1) / rate


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32).to_complex()
