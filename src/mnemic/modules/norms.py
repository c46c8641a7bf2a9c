"""Root-mean-square norms: plain, and with a gate."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GatedRMSNorm", "RMSNorm"]


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, computed in float32 at least (Zhang & Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., width] -> [..., width]."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return F.rms_norm(wide, x.shape[-1:], eps=self.eps).to(x.dtype) * self.weight.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


class GatedRMSNorm(RMSNorm):
    """A norm with a SiLU gate: Mamba-2 gates before it norms, Gated DeltaNet after; `groups` of channels norm apart."""

    def __init__(self, width: int, eps: float = 1e-5, gate_first: bool = False, groups: int = 1) -> None:
        super().__init__(width, eps)
        self.gate_first, self.groups = gate_first, groups

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:  # type: ignore[override]  # a norm that also takes its gate
        """x, gate: [..., width] -> [..., width]."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        opening = F.silu(gate.to(wide.dtype))
        if self.gate_first:
            wide = wide * opening
        parts = wide.unflatten(-1, (self.groups, -1))
        normed = F.rms_norm(parts, parts.shape[-1:], eps=self.eps).flatten(-2) * self.weight.to(wide.dtype)
        return (normed if self.gate_first else normed * opening).to(x.dtype)
