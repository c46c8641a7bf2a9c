"""Feature maps of linear attention: phi(q) . phi(k) in place of exp(q . k).

Legend: F width of a query or key before the map.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["FEATURE_MAPS", "POSITIVE", "FeatureMap", "taylor_features", "taylor_width"]

FeatureMap: TypeAlias = Literal["elu", "relu", "identity"]


def _elu_plus_one(x: Tensor) -> Tensor:
    return F.elu(x) + 1


def _identity(x: Tensor) -> Tensor:
    return x


FEATURE_MAPS: Mapping[FeatureMap, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"elu": _elu_plus_one, "relu": F.relu, "identity": _identity}
)
POSITIVE: frozenset[FeatureMap] = frozenset({"elu", "relu"})  # weights that a sum may normalise


def taylor_width(width: int) -> int:
    """1 + F + F (F + 1) / 2: the features of :func:`taylor_features`."""
    return 1 + width + width * (width + 1) // 2


def taylor_features(x: Tensor) -> Tensor:
    """phi with phi(q) . phi(k) = 1 + s + s^2 / 2, s = q . k / sqrt(F): exp(s) to the second order.

    Of the symmetric matrix x x^T the half with the diagonal is kept, its off-diagonal entries times sqrt(2)
    (Arora et al. 2024, arXiv 2402.18668, which keeps both halves).

    Args:
        x: [..., F].

    Returns:
        [..., 1 + F + F (F + 1) / 2], in x's type.
    """
    width = x.shape[-1]
    first, second = torch.triu_indices(width, width, device=x.device).unbind()
    x = x * width**-0.25
    weight = x.new_ones(len(first)).masked_fill(first == second, 0.5**0.5)
    # by slices: the gradient of picking columns by index adds numbers one by one
    products = torch.cat([x[..., i:] * x[..., i : i + 1] for i in range(width)], dim=-1)
    return torch.cat([torch.ones_like(x[..., :1]), x, products * weight], dim=-1)
