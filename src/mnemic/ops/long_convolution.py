"""Depthwise causal convolution with a filter as long as the sequence, by FFT or one token at a time.

The naive reference is :func:`mnemic.ops.causal_convolution.causal_convolution_naive`, whose last tap is tap 0 here.

Legend: B batch, T time, S tokens held before, C channels, L filter taps.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["long_convolution"]


def long_convolution(x: Tensor, taps: Tensor, history: Tensor | None = None) -> Tensor:
    """y_t = sum_i taps_i x_{t-i}, where x before the start is the history, or zero.

    Args:
        x: [B, T, C].
        taps: [L, C]; tap 0 meets the current token. What is further back than L-1 tokens is not seen.
        history: [B, S, C], the inputs just before x.

    Returns:
        [B, T, C] in the type of x, computed in float32 at least.
    """
    before = 0 if history is None else history.shape[1]
    inputs = x if history is None else torch.cat([history.to(x.dtype), x], dim=1)
    wide = inputs.to(torch.promote_types(x.dtype, torch.float32))
    taps = taps[: wide.shape[1]].to(wide.dtype)
    if x.shape[1] == 1:
        # rows one by one: einsum and flip would move single numbers
        newest_last = taps.index_select(0, torch.arange(len(taps) - 1, -1, -1, device=x.device))
        return (wide[:, -len(taps) :] * newest_last).sum(1, keepdim=True).to(x.dtype)
    # long enough that what wraps around falls on the tokens of the history, whose outputs nobody asks for
    size = _fast_size(max(wide.shape[1], wide.shape[1] + taps.shape[0] - 1 - before))
    over_time, filter_over_time = wide.transpose(1, 2).contiguous(), taps.T.contiguous()  # 2 to 4 times faster on a CPU
    y = _Circular.apply(over_time, filter_over_time, size)  # type: ignore[no-untyped-call]
    return y[..., before:].transpose(1, 2).to(x.dtype)


class _Circular(torch.autograd.Function):
    """y = h * x around a circle of `size` tokens, cut to x's; autograd differentiates a real FFT by a complex one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor, size: int) -> Tensor:
        """x: [B, C, S + T], taps: [C, L] -> [B, C, S + T]."""
        spectra = torch.fft.rfft(x, n=size), torch.fft.rfft(taps, n=size)
        ctx.save_for_backward(*spectra)
        ctx.size, ctx.lengths = size, (x.shape[-1], taps.shape[-1])
        return torch.fft.irfft(spectra[0] * spectra[1], n=size)[..., : x.shape[-1]]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_taps = ctx.saved_tensors
        signal, (tokens, taps) = torch.fft.rfft(dy, n=ctx.size), ctx.lengths
        dx = torch.fft.irfft(signal * of_taps.conj(), n=ctx.size)[..., :tokens]
        if not ctx.needs_input_grad[1]:
            return dx, None, None
        # over the batch before going back: one inverse transform for all sequences
        return dx, torch.fft.irfft((signal * of_x.conj()).sum(0), n=ctx.size)[..., :taps], None


def _fast_size(least: int) -> int:
    """The smallest power of two, or three halves of one, that is at least this."""
    power = 1 << (least - 1).bit_length()
    return power * 3 // 4 if power >= 4 and power * 3 // 4 >= least else power
