"""The orthogonal factor of a matrix: Newton and Schulz's iteration as Muon runs it, and the exact polar factor.

Jordan et al. 2024 (Muon); for G = U S V^T the polar factor is U V^T. The five-step iteration does not reach it: its
singular values end between about 0.7 and 1.2, and directions below some 0.2 % of the Frobenius norm are not lifted.
"""

import torch
from torch import Tensor

__all__ = ["COEFFICIENTS", "newton_schulz", "polar_exact"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
EPS = 1e-7


def newton_schulz(
    matrix: Tensor, steps: int = 5, coefficients: tuple[float, float, float] = COEFFICIENTS,
    dtype: torch.dtype | None = None,
) -> Tensor:  # fmt: skip
    """X <- a X + (b X X^T + c (X X^T)^2) X, from the matrix over its Frobenius norm.

    Args:
        matrix: [..., rows, columns].
        steps: how often.
        dtype: computed in; None for bfloat16 on an accelerator, and float32 at least on a CPU.

    Returns:
        [..., rows, columns] in the matrix's dtype.

    Raises:
        ValueError: fewer than two dimensions, or steps < 1.
    """
    if matrix.ndim < 2:
        raise ValueError(f"a matrix has two dimensions; this has shape {tuple(matrix.shape)}")
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    if dtype is None:
        dtype = torch.promote_types(matrix.dtype, torch.float32) if matrix.device.type == "cpu" else torch.bfloat16
    a, b, c = coefficients
    x = matrix.to(dtype)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + EPS)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).to(matrix.dtype)


def polar_exact(matrix: Tensor, least: float = 1e-10) -> Tensor:
    """U V^T of the singular value decomposition; directions below `least` times the largest singular value give 0."""
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    kept = s > least * s[..., :1]
    return (u * kept[..., None, :].to(u.dtype)) @ vh
