"""Attention masks from one integer per key: query q sees key k exactly when k <= q < visible_until[k].

Any rule that hides keys for good, once, from some query on is such a vector: evicted blocks, restarts.

Legend: B batch, T time.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

__all__ = ["TILE", "visibility_block_mask", "visibility_mask", "visibility_mask_mod"]

TILE = 128
"""FlexAttention's tiles are 128 x 128; a length that is a multiple of it wastes none."""

MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def visibility_mask(visible_until: Tensor, documents: Tensor | None = None, window: int | None = None) -> Tensor:
    """The dense mask, [B, 1, T, T] of bool, True where a query sees a key.

    Args:
        visible_until: [B, T], the first query that no longer sees the key.
        documents: [B, T], which document of a packed row a token belongs to; none sees another.
        window: only the last so many tokens, for the sliding-window layers of a hybrid.
    """
    time = visible_until.shape[1]
    index = torch.arange(time, device=visible_until.device)
    query, key = index[:, None], index[None, :]
    mask = (key <= query) & (query < visible_until[:, None, None, :])
    if window is not None:
        mask = mask & (query - key < window)
    if documents is not None:
        mask = mask & (documents[:, None, :, None] == documents[:, None, None, :])
    return mask


def visibility_mask_mod(visible_until: Tensor, documents: Tensor | None = None, window: int | None = None) -> MaskMod:
    """The same rule as FlexAttention's `mask_mod(batch, head, query, key)`; arguments as :func:`visibility_mask`."""

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = (key <= query) & (query < visible_until[batch, key])
        if window is not None:
            seen = seen & (query - key < window)
        if documents is not None:
            seen = seen & (documents[batch, query] == documents[batch, key])
        return seen

    return sees


def visibility_block_mask(
    visible_until: Tensor, documents: Tensor | None = None, window: int | None = None
) -> BlockMask:
    """The same rule as tiles, those that nobody sees left out; arguments as :func:`visibility_mask`."""
    batch, time = visible_until.shape
    rule = visibility_mask_mod(visible_until, documents, window)
    return create_block_mask(rule, batch, None, time, time, device=str(visible_until.device), BLOCK_SIZE=TILE)
