"""Depthwise causal convolution, dilated, whole or streamed.

Legend: B batch, T time, C channels, J kernel taps, d dilation.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["causal_convolution", "causal_convolution_naive"]


def causal_convolution_naive(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None, dilation: int = 1
) -> tuple[Tensor, Tensor]:
    """The definition: y_t = b + sum_j w_{J-1-j} x_{t - j d}, where x before the start is the state, or zero.

    Args:
        x: [B, T, C].
        weight: [C, J]; the last tap meets the current token, as in `torch.nn.Conv1d`.
        bias: [C], or None.
        state: [B, (J-1) d, C], the inputs just before x, or None for zeros.
        dilation: tokens between taps.

    Returns:
        y: [B, T, C], and the new state [B, (J-1) d, C].
    """
    taps = weight.shape[1]
    past = _past(x, taps, state, dilation)
    padded = torch.cat([past, x], dim=1)
    outputs = []
    for t in range(x.shape[1]):
        seen = padded[:, t : t + (taps - 1) * dilation + 1 : dilation]
        outputs.append(torch.einsum("bjc,cj->bc", seen, weight))
    y = torch.stack(outputs, dim=1)
    return y if bias is None else y + bias, padded[:, padded.shape[1] - past.shape[1] :]


def causal_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None, dilation: int = 1
) -> tuple[Tensor, Tensor]:
    """The same function as shifted multiply-adds over whole tensors: no transposition, no copy of x but the state's.

    Arguments and results as :func:`causal_convolution_naive`.

    Raises:
        ValueError: the channels of x, weight, bias or state do not agree.
    """
    channels, taps = weight.shape
    if x.shape[-1] != channels or (state is not None and state.shape[1:] != ((taps - 1) * dilation, channels)):
        raise ValueError(
            f"shapes do not agree: want x [B, T, {channels}] and state [B, {(taps - 1) * dilation}, {channels}]; "
            f"got x {tuple(x.shape)}, state {None if state is None else tuple(state.shape)}"
        )
    past = _past(x, taps, state, dilation)
    if x.shape[1] == 1:
        window = torch.cat([past, x], dim=1)
        y = torch.einsum("bjc,cj->bc", window[:, ::dilation], weight)[:, None]
        return y if bias is None else y + bias, window[:, 1:]
    given = past if state is not None else None
    y = _ShiftedSum.apply(x, weight, bias, given, dilation)  # type: ignore[no-untyped-call]
    if past.shape[1] <= x.shape[1]:
        return y, x[:, x.shape[1] - past.shape[1] :]
    return y, torch.cat([past[:, x.shape[1] :], x], dim=1)


def _past(x: Tensor, taps: int, state: Tensor | None, dilation: int) -> Tensor:
    return x.new_zeros(x.shape[0], (taps - 1) * dilation, x.shape[2]) if state is None else state.to(x.dtype)


class _ShiftedSum(torch.autograd.Function):
    """y[t] = b + sum_j w[J-1-j] x[t - j d] with in-place adds; autograd would keep one product per tap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor | None, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight, past)
        ctx.dilation, ctx.has_bias = dilation, bias is not None
        weight = weight.to(x.dtype)
        y = x * weight[:, -1]
        if bias is not None:
            y += bias
        for shift, w in _shifts(weight, dilation):
            if shift < x.shape[1]:
                y[:, shift:].addcmul_(x[:, : x.shape[1] - shift], w)
            if past is not None:
                reach = min(shift, x.shape[1])
                start = past.shape[1] - shift
                y[:, :reach].addcmul_(past[:, start : start + reach], w)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, past = ctx.saved_tensors
        wide = weight.to(dy.dtype)
        dx = dy * wide[:, -1]
        dpast = None if past is None else torch.zeros_like(past)
        dw = torch.empty(weight.shape[1], weight.shape[0], dtype=dy.dtype, device=dy.device)
        dw[-1] = (dy * x).sum((0, 1))
        for j, (shift, w) in enumerate(_shifts(wide, ctx.dilation), start=2):
            rest = max(x.shape[1] - shift, 0)
            dw[-j] = (dy[:, shift:] * x[:, :rest]).sum((0, 1))
            dx[:, :rest].addcmul_(dy[:, shift:], w)
            if past is not None and dpast is not None:
                reach = min(shift, x.shape[1])
                start = past.shape[1] - shift
                dpast[:, start : start + reach].addcmul_(dy[:, :reach], w)
                dw[-j] += (dy[:, :reach] * past[:, start : start + reach]).sum((0, 1))
        dbias = dy.sum((0, 1)) if ctx.has_bias else None
        return dx, dw.T.to(weight.dtype), dbias, dpast, None


def _shifts(weight: Tensor, dilation: int) -> list[tuple[int, Tensor]]:
    """(shift in tokens, that tap's weights [C]) of every tap but the current token's, nearest first."""
    taps = weight.shape[1]
    return [(j * dilation, weight[:, taps - 1 - j]) for j in range(1, taps)]
