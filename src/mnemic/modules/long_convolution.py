"""The long convolution of Hyena and BaseConv: a filter over the whole context, given by a small network of time."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnemic.modules.past_inputs import behind_padding, last_real
from mnemic.ops.long_convolution import long_convolution

__all__ = ["LongConvolution"]

TIME_FEATURES = 3


class LongConvolution(nn.Module):
    """y = h * x + x with h_t = MLP(t/L, cos 2 pi t/L, sin 2 pi t/L), ReLU inside (Arora et al. 2023, arXiv 2312.04927).

    The filter is worked out anew at every call, so that nothing but weights and past inputs is kept.

    Legend: B batch, T time, S tokens held before, C channels, L filter taps.
    """

    def __init__(self, channels: int, length: int, filter_width: int = 16) -> None:
        super().__init__()
        self.channels, self.length = channels, length
        self.inner = nn.Linear(TIME_FEATURES, filter_width)
        self.outer = nn.Linear(filter_width, channels)

    def new_state(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
        """[B, 0, C]: the past inputs, none yet; they grow up to L-1."""
        return torch.zeros(batch_size, 0, self.channels, device=device, dtype=dtype)

    def state_bytes(self, tokens: int, dtype: torch.dtype) -> int:
        return min(tokens, self.length - 1) * self.channels * dtype.itemsize

    def taps(self, count: int) -> Tensor:
        """[min(count, L), C]: the filter's first taps."""
        weight = self.inner.weight
        wide = torch.promote_types(weight.dtype, torch.float32)
        share = torch.arange(min(count, self.length), device=weight.device, dtype=wide) / self.length
        angle = 2 * math.pi * share
        time = torch.stack([share, angle.cos(), angle.sin()], dim=-1).to(weight.dtype)
        return self.outer(F.relu(self.inner(time)))

    def forward(
        self, x: Tensor, state: Tensor | None = None, real: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """x: [B, T, C] -> y: [B, T, C] and the new state [B, min(S+T, L-1), C]; real: [B, T], False on padding."""
        before = 0 if state is None else state.shape[1]
        taps, kept = self.taps(before + x.shape[1]), min(before + x.shape[1], self.length - 1)
        if real is None:
            y = long_convolution(x, taps, state) + x
            seen = x if state is None else torch.cat([state, x], dim=1)
            # a copy: a view would keep what is forgotten alive
            return y, None if state is None else seen[:, seen.shape[1] - kept :].clone()
        inputs = behind_padding(x[:, :0] if state is None else state, x, real)
        x, past = inputs[:, before:], inputs[:, :before]
        y = long_convolution(x, taps, past) + x
        return y, None if state is None else last_real(inputs, real, kept)

    def extra_repr(self) -> str:
        return f"{self.channels}, length={self.length}"
