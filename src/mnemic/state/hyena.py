"""Hyena: two gates around a convolution as long as the context (Poli et al. 2023, arXiv 2302.10866), of order 2."""

import math
from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import initialization as init

from mnemic.modules.long_convolution import TIME_FEATURES, FilteredPast, time_features
from mnemic.modules.memory import LayerMemory, Step
from mnemic.modules.mixer import Mixer, MixerConfig, real_tokens
from mnemic.modules.short_convolution import ShortConvolution

__all__ = ["Hyena", "HyenaConfig", "HyenaFilter", "HyenaMemory"]

FADED = 0.01  # what the window leaves of a filter after the shares of the context below
FASTEST, SLOWEST = 0.3, 1.5


class HyenaConfig(MixerConfig):
    length: int = Field(2048, ge=1, description="tokens that the filter spans, the current one among them")
    conv_size: int = Field(3, ge=0, description="taps of the short convolution on both gates and the value; 0: none")
    filter_width: int = Field(64, ge=1, description="inner width of the network that makes the filter")
    filter_depth: int = Field(2, ge=0, description="inner layers of that network")
    frequency: float = Field(1.0, gt=0, description="of the network's sines at the start of training")


class HyenaFilter(FilteredPast):
    """y = h * x + beta x with h_t = SineMLP(t/L, cos 2 pi t/L, sin 2 pi t/L) exp(-d_c t/L).

    The decays d_c lie evenly between those that leave 1 % after 1.5 and after 0.3 of the context.
    """

    def __init__(self, channels: int, config: HyenaConfig) -> None:
        super().__init__(channels, config.length)
        widths = [TIME_FEATURES, *[config.filter_width] * (config.filter_depth + 1)]
        self.inner = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.outer = nn.Linear(config.filter_width, channels, bias=False)
        self.frequency = nn.Parameter(torch.empty(config.filter_width))
        self.beta = nn.Parameter(torch.empty(channels))
        self.first_frequency = config.frequency
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.constant_(self.frequency, self.first_frequency)
        init.normal_(self.beta)

    def taps(self, count: int) -> Tensor:
        features = time_features(count, self.length, self.frequency)
        hidden = features
        for layer in self.inner:
            hidden = (self.frequency * layer(hidden)).sin()
        return self.outer(hidden) * (-features[:, :1] * self.decays()).exp()

    def decays(self) -> Tensor:
        """[C]: how fast each channel's window fades over the context."""
        slow, fast = (-math.log(FADED) / share for share in (SLOWEST, FASTEST))
        return torch.linspace(fast, slow, self.channels, device=self.beta.device, dtype=self.beta.dtype)

    def skip(self, x: Tensor) -> Tensor:
        return self.beta * x


class HyenaMemory(LayerMemory):
    """past: [B, S, width], up to L-1 gated values; conv: [B, J-1, 3 width], the short convolution's last inputs."""

    def __init__(self, past: Tensor, conv: Tensor | None) -> None:
        super().__init__()
        self.past, self.conv = past, conv

    def reset(self) -> None:
        super().reset()
        self.past = self.past[:, :0]


class Hyena(Mixer):
    """y = W (x2 * (h conv (x1 * v) + beta (x1 * v))),  (x1, x2, v) = short convolution of W_in u.

    The products are elementwise, conv is a causal convolution. What is gated depends on the input, what the filter
    fetches does not: its taps are the same for every sequence.

    Legend: B batch, T time, J taps of the short convolution, L taps of the filter.
    Memory: min(T, L-1) width values, so that it grows with the sequence up to the filter, and 3 (J-1) width of the
    short convolution.
    """

    config_class: ClassVar[type[MixerConfig]] = HyenaConfig

    def __init__(self, config: HyenaConfig, layer_index: int) -> None:
        super().__init__(config, layer_index)
        self.proj = nn.Linear(config.width, 3 * config.width)
        self.conv = ShortConvolution(3 * config.width, config.conv_size, True, silu=False) if config.conv_size else None
        self.filter = HyenaFilter(config.width, config)
        self.out = nn.Linear(config.width, config.width)

    def init_own_parameters(self) -> None:
        self.filter.reset_parameters()

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> HyenaMemory:
        conv = self.conv.new_state(batch_size, device=device, dtype=dtype) if self.conv is not None else None
        return HyenaMemory(self.filter.new_state(batch_size, device=device, dtype=dtype), conv)

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        conv = self.conv.state_bytes(dtype) if self.conv is not None else 0
        return self.filter.state_bytes(length, dtype) + conv

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        memory, real, conv, past = step.memory, real_tokens(step, x.shape[1]), None, None
        assert memory is None or isinstance(memory, HyenaMemory)
        mixed = self.proj(x)
        if self.conv is not None:
            mixed, conv = self.conv(mixed, memory.conv if memory else None, real)
        before, after, v = mixed.chunk(3, dim=-1)
        y, past = self.filter(before * v, memory.past if memory else None, real)
        if memory is not None:
            assert past is not None
            memory.past, memory.conv, memory.seen = past, conv, memory.seen + x.shape[1]
        return self.out(after * y)
