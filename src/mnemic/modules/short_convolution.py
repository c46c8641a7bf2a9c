"""The short convolution in front of most recurrent mixers: it lets a token see the few before it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from mnemic.modules.past_inputs import behind_padding, last_real
from mnemic.ops.causal_convolution import causal_convolution

__all__ = ["ShortConvolution"]


class ShortConvolution(nn.Module):
    """Depthwise causal convolution, then SiLU unless `silu` is off, with the last inputs as its state.

    Legend: B batch, T time, C channels, J kernel taps.
    """

    def __init__(self, channels: int, kernel: int, bias: bool = False, silu: bool = True) -> None:
        super().__init__()
        self.channels, self.kernel, self.silu = channels, kernel, silu
        self.weight = nn.Parameter(torch.empty(channels, kernel))
        self.bias = nn.Parameter(torch.empty(channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = self.kernel**-0.5  # PyTorch's default for a depthwise Conv1d
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def new_state(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
        """[B, J-1, C] of zeros: before the start there is nothing."""
        return torch.zeros(batch_size, self.kernel - 1, self.channels, device=device, dtype=dtype)

    def state_bytes(self, dtype: torch.dtype) -> int:
        return (self.kernel - 1) * self.channels * dtype.itemsize

    def forward(
        self, x: Tensor, state: Tensor | None = None, real: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """x: [B, T, C] -> y: [B, T, C] and the new state [B, J-1, C]; real: [B, T] of bool, False on padding."""
        if state is None:
            x = x if real is None else x * real[..., None].to(x.dtype)
            return self._activated(causal_convolution(x, self.weight, self.bias)[0]), None
        if real is None:
            y, after = causal_convolution(x, self.weight, self.bias, state)
            return self._activated(y), after.clone()  # a view would keep the whole prompt alive
        kept = self.kernel - 1
        inputs = behind_padding(state, x, real)
        y, _ = causal_convolution(inputs[:, kept:], self.weight, self.bias, inputs[:, :kept])
        return self._activated(y), last_real(inputs, real, kept)

    def _activated(self, y: Tensor) -> Tensor:
        return F.silu(y) if self.silu else y

    def extra_repr(self) -> str:
        return f"{self.channels}, kernel={self.kernel}, bias={self.bias is not None}"
