"""BaseConv: a gate times a convolution, the simplest gated convolution (Arora et al. 2023, arXiv 2312.04927)."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from mnemic.modules.long_convolution import LongConvolution
from mnemic.modules.memory import LayerMemory, Step
from mnemic.modules.mixer import Mixer, MixerConfig, real_tokens
from mnemic.modules.short_convolution import ShortConvolution

__all__ = ["BaseConv", "BaseConvConfig", "BaseConvMemory"]


class BaseConvConfig(MixerConfig):
    kernel: int | Literal["long"] = Field(3, description="taps of the convolution, or long: a filter over the length")
    length: int = Field(2048, ge=1, description="tokens that the long filter spans, the current one among them")
    filter_width: int = Field(16, ge=1, description="inner width of the network that makes the long filter")
    silu: bool = Field(False, description="SiLU on the gate and on the convolution")
    bias: bool = Field(True, description="biases of the gate and of the short convolution")

    @field_validator("kernel")
    @classmethod
    def _at_least_one_tap(cls, kernel: int | str) -> int | str:
        if isinstance(kernel, int) and kernel < 1:
            raise ValueError("must be at least 1, or long")
        return kernel


class BaseConvMemory(LayerMemory):
    """past: [B, S, width], the last inputs: J-1 of them for J taps, up to L-1 for the long filter."""

    def __init__(self, past: Tensor, grows: bool) -> None:
        super().__init__()
        self.past, self._grows = past, grows

    def reset(self) -> None:
        super().reset()
        if self._grows:
            self.past = self.past[:, :0]


class BaseConv(Mixer):
    """y = (W u + b) * conv(u) + u with an elementwise product (section 4 of the paper).

    What is recalled is chosen by the filter, the same for every input: one such layer can shift by a fixed distance,
    and only a width that grows with the length lets two of them compare tokens at any distance.

    Legend: B batch, T time, J taps, L taps of the long filter.
    Memory: (J-1) width values, or min(T, L-1) width for the long filter, which therefore grows with the sequence.
    """

    config_class: ClassVar[type[MixerConfig]] = BaseConvConfig

    def __init__(self, config: BaseConvConfig, layer_index: int) -> None:
        super().__init__(config, layer_index)
        self.gate = nn.Linear(config.width, config.width, bias=config.bias)
        self.conv: LongConvolution | ShortConvolution
        if config.kernel == "long":
            self.conv = LongConvolution(config.width, config.length, config.filter_width)
        else:
            self.conv = ShortConvolution(config.width, config.kernel, config.bias, silu=False)
        self.silu = config.silu

    def new_memory(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> BaseConvMemory:
        past = self.conv.new_state(batch_size, device=device, dtype=dtype)
        return BaseConvMemory(past, grows=isinstance(self.conv, LongConvolution))

    def memory_bytes(self, length: int, dtype: torch.dtype = torch.float32) -> int:
        if isinstance(self.conv, LongConvolution):
            return self.conv.state_bytes(length, dtype)
        return self.conv.state_bytes(dtype)

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        memory = step.memory
        assert memory is None or isinstance(memory, BaseConvMemory)
        convolved, past = self.conv(x, memory.past if memory else None, real_tokens(step, x.shape[1]))
        gate = self.gate(x)
        if self.silu:
            gate, convolved = F.silu(gate), F.silu(convolved)
        if memory is not None:
            assert past is not None
            memory.past, memory.seen = past, memory.seen + x.shape[1]
        return gate * convolved + x
