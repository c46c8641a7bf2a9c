"""A diagonal state-space model per head: a sum of N fading, turning copies of the input; the mechanism under H3.

Legend: B batch, T time, H heads, E channels of a head, N complex modes of a head.
"""

import torch
from torch import Tensor

from mnemic.ops.long_convolution import long_convolution

__all__ = ["diagonal_ssm", "diagonal_ssm_naive"]


def diagonal_ssm_naive(u: Tensor, log_decay: Tensor, weight: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One token at a time: the definition, and the reference for the convolution.

    s_t = exp(a) s_{t-1} + u_t,   y_t = Re(sum_n w_n s_{t,n})   (Gu et al. 2022, arXiv 2206.11893, made discrete).

    Args:
        u: [B, T, H, E].
        log_decay: [H, N] complex, a; its real part is negative.
        weight: [H, N] complex, w.
        state: [B, H, N, E] complex.

    Returns:
        y: [B, T, H, E] in u's type, and the final state.
    """
    keep, outputs = log_decay.exp()[..., None], []
    for t in range(u.shape[1]):
        state = keep * state + u[:, t, :, None].to(state.dtype)
        outputs.append(torch.einsum("hn,bhne->bhe", weight, state).real)
    return torch.stack(outputs, dim=1).to(u.dtype), state


def diagonal_ssm(
    u: Tensor, log_decay: Tensor, weight: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The same function by FFT: y = h * u with h_t = Re(sum_n w_n exp(a_n t)), plus what is left of the state.

    Arguments, results and source as :func:`diagonal_ssm_naive`; without a state, the final one is None as well.

    Args:
        lengths: [B], tokens of each row, which stand at its end behind zeros; None where all rows are full.
    """
    if state is not None and lengths is None and u.shape[1] == 1:
        return diagonal_ssm_naive(u, log_decay, weight, state)
    _, time, heads, channels = u.shape
    powers = (log_decay[..., None] * torch.arange(time + 1, device=u.device)).exp()  # [H, N, T + 1]
    taps = torch.einsum("hn,hnt->th", weight, powers[..., :-1]).real
    y = long_convolution(u.flatten(2), taps.repeat_interleave(channels, dim=1)).unflatten(2, (heads, channels))
    if state is None:
        return y, None
    before = torch.einsum("hn,hnt,bhne->bthe", weight, powers[..., 1:], state).real.to(y.dtype)
    through = powers[..., -1]
    if lengths is not None:
        since = torch.arange(time, device=u.device) - (time - lengths[:, None])  # tokens of the row before this one
        index = since.clamp(min=0)[..., None, None].expand_as(before)
        before = before.gather(1, index) * (since >= 0)[..., None, None]
        through = powers[..., lengths].permute(2, 0, 1)
    written = torch.einsum("hnt,bthe->bhne", powers[..., :-1].flip(2), u.to(state.dtype))
    return y + before, through[..., None] * state + written
