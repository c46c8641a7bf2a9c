"""Long convolutions: filters over the whole context, given by a small network of time.

Legend: B batch, T time, S tokens held before, C channels, L filter taps.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnemic.modules.past_inputs import behind_padding, last_real
from mnemic.ops.long_convolution import long_convolution

__all__ = ["FilteredPast", "LongConvolution", "time_features"]

TIME_FEATURES = 3


def time_features(count: int, length: int, like: Tensor) -> Tensor:
    """[min(count, L), 3]: t/L, cos 2 pi t/L and sin 2 pi t/L, in the type of `like`."""
    wide = torch.promote_types(like.dtype, torch.float32)
    share = torch.arange(min(count, length), device=like.device, dtype=wide) / length
    angle = 2 * math.pi * share
    return torch.stack([share, angle.cos(), angle.sin()], dim=-1).to(like.dtype)


class FilteredPast(nn.Module):
    """y = h * x + skip(x), with the past inputs as its state; a subclass gives the filter h.

    The filter is worked out anew at every call; while single tokens are read without gradients, its L taps are kept
    beside the weights, for all sequences, until these change.
    """

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.channels, self.length = channels, length
        self._kept: tuple[list[tuple[int, float]], Tensor] | None = None

    def taps(self, count: int) -> Tensor:
        """[min(count, L), C]: the filter's first taps."""
        raise TypeError(f"{type(self).__name__} defines no taps")

    def skip(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]: what of the current token is added."""
        return x

    def new_state(self, batch_size: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
        """[B, 0, C]: the past inputs, none yet; they grow up to L-1."""
        return torch.zeros(batch_size, 0, self.channels, device=device, dtype=dtype)

    def state_bytes(self, tokens: int, dtype: torch.dtype) -> int:
        return min(tokens, self.length - 1) * self.channels * dtype.itemsize

    def forward(
        self, x: Tensor, state: Tensor | None = None, real: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """x: [B, T, C] -> y: [B, T, C] and the new state [B, min(S+T, L-1), C]; real: [B, T], False on padding."""
        before = 0 if state is None else state.shape[1]
        decoding = state is not None and x.shape[1] == 1 and not torch.is_grad_enabled()
        taps = self._kept_taps()[: before + 1] if decoding else self.taps(before + x.shape[1])
        kept = min(before + x.shape[1], self.length - 1)
        if real is None:
            y = long_convolution(x, taps, state) + self.skip(x)
            seen = x if state is None else torch.cat([state, x], dim=1)
            # a copy: a view would keep what is forgotten alive
            return y, None if state is None else seen[:, seen.shape[1] - kept :].clone()
        inputs = behind_padding(x[:, :0] if state is None else state, x, real)
        x, past = inputs[:, before:], inputs[:, :before]
        y = long_convolution(x, taps, past) + self.skip(x)
        return y, None if state is None else last_real(inputs, real, kept)

    def _kept_taps(self) -> Tensor:
        """[L, C], worked out where a weight has moved or its sum has changed since the last time."""
        weights = [(weight.data_ptr(), float(weight.sum())) for weight in self.parameters()]
        if self._kept is None or self._kept[0] != weights:
            self._kept = weights, self.taps(self.length)
        return self._kept[1]

    def extra_repr(self) -> str:
        return f"{self.channels}, length={self.length}"


class LongConvolution(FilteredPast):
    """y = h * x + x, h_t = MLP(t/L, cos 2 pi t/L, sin 2 pi t/L) with ReLU (Arora et al. 2023, arXiv 2312.04927)."""

    def __init__(self, channels: int, length: int, filter_width: int = 16) -> None:
        super().__init__(channels, length)
        self.inner = nn.Linear(TIME_FEATURES, filter_width)
        self.outer = nn.Linear(filter_width, channels)

    def taps(self, count: int) -> Tensor:
        return self.outer(F.relu(self.inner(time_features(count, self.length, self.inner.weight))))
