"""The inputs that a convolution keeps between calls, where the piece in between is padded.

Legend: B batch, T time, S inputs held before, C channels.
"""

import torch
from torch import Tensor

__all__ = ["behind_padding", "last_real"]


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
    padding_right = torch.where(real.any(1), real.flip(1).to(torch.int64).argmax(1), real.shape[1])
    index = (inputs.shape[1] - padding_right)[:, None] + torch.arange(-count, 0, device=inputs.device)
    found = inputs.gather(1, index.clamp(min=0)[..., None].expand(-1, -1, inputs.shape[2]))
    return found * (index >= 0)[..., None].to(found.dtype)
