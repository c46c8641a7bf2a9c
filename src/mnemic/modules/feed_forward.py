"""The part of a block that works on each token alone."""

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SwiGLU", "default_inner_size"]


def default_inner_size(width: int) -> int:
    """8/3 of the width, rounded up to a multiple of 256, or of 8 below width 256 (baseline skeleton of fla)."""
    multiple = 256 if width >= 256 else 8
    return -(-8 * width // (3 * multiple)) * multiple


class SwiGLU(nn.Module):
    """down(SiLU(gate(x)) * up(x)) (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, inner, bias=False)
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., width] -> [..., width]."""
        return self.down(F.silu(self.gate(x)) * self.up(x))
