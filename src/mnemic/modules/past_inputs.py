"""The inputs that a convolution keeps between calls, where the piece in between is padded.

Legend: B batch, T time, S inputs held before, C channels.
"""

import torch
from torch import Tensor

__all__ = ["at_the_end", "back_in_place", "behind_padding", "last_real"]


def behind_padding(past: Tensor, x: Tensor, real: Tensor) -> Tensor:
    """[B, S + T, C]: x behind what was held before it, which stands right before each row's first real token.

    Args:
        past: [B, S, C].
        x: [B, T, C].
        real: [B, T] of bool, False on padding, which becomes zero.
    """
    inputs, held = torch.cat([past.to(x.dtype), x * real[..., None].to(x.dtype)], dim=1), past.shape[1]
    here = torch.arange(inputs.shape[1], device=x.device)
    moved = here - torch.where(real.any(1), real.to(torch.int64).argmax(1), 0)[:, None]
    source = torch.where((moved >= 0) & (moved < held), moved, here)
    found = inputs.gather(1, source[..., None].expand(-1, -1, x.shape[2]))
    return found * (moved >= 0)[..., None].to(x.dtype)


def last_real(inputs: Tensor, real: Tensor, count: int) -> Tensor:
    """[B, count, C]: the inputs up to each row's last real token, zeros before the first; padding is not remembered.

    Args:
        inputs: [B, S + T, C], of :func:`behind_padding`.
        real: [B, T] of bool.
    """
    index = (inputs.shape[1] - _padding_right(real))[:, None] + torch.arange(-count, 0, device=inputs.device)
    found = inputs.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, inputs.shape[2]))
    return found * (index >= 0)[..., None].to(found.dtype)


def at_the_end(x: Tensor, real: Tensor) -> Tensor:
    """[B, T, C]: each row's real tokens moved to its end, zeros before them."""
    return _rolled(x * real[..., None].to(x.dtype), _padding_right(real))


def back_in_place(y: Tensor, real: Tensor) -> Tensor:
    """[B, T, C]: what :func:`at_the_end` moved, where it stood."""
    return _rolled(y, -_padding_right(real))


def _rolled(x: Tensor, by: Tensor) -> Tensor:
    """Each row moved by so many tokens [B] towards the end; what leaves there comes in at the start."""
    index = (torch.arange(x.shape[1], device=x.device) - by[:, None]) % x.shape[1]
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def _padding_right(real: Tensor) -> Tensor:
    """[B]: tokens of padding behind each row's last real token; all of them where none is real."""
    return torch.where(real.any(1), real.flip(1).to(torch.int64).argmax(1), real.shape[1])
