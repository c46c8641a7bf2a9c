"""Which tokens of a row have stood in it before, exactly.

Legend: B batch, T time, S tokens held before.
"""

import torch
from torch import Tensor

__all__ = ["repeated_tokens", "repeated_tokens_naive"]


def repeated_tokens_naive(ids: Tensor, held: Tensor | None = None) -> Tensor:
    """The definition: token t is repeated when an equal one stands at s < t, or among those held.

    Args:
        ids: [B, T] int64; a negative id is no token and is never repeated.
        held: [B, S], the ids before these.

    Returns:
        [B, T] of bool.
    """
    row = ids if held is None else torch.cat([held, ids], dim=1)
    found = torch.zeros_like(row, dtype=torch.bool)
    for t in range(row.shape[1]):
        found[:, t] = (row[:, :t] == row[:, t : t + 1]).any(1) & (row[:, t] >= 0)
    return found[:, row.shape[1] - ids.shape[1] :]


def repeated_tokens(ids: Tensor, held: Tensor | None = None) -> Tensor:
    """The same by sorting, in O(n log n) of n = S + T; arguments and result as :func:`repeated_tokens_naive`."""
    if ids.shape[1] == 1 and held is not None:
        return (held == ids).any(1, keepdim=True) & (ids >= 0)
    row = ids if held is None else torch.cat([held, ids], dim=1)
    ranked, order = row.sort(dim=1, stable=True)  # equal ids stay in the order of time
    again = torch.zeros_like(row, dtype=torch.bool)
    again[:, 1:] = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] >= 0)
    found = torch.zeros_like(again).scatter(1, order, again)
    return found[:, row.shape[1] - ids.shape[1] :]
