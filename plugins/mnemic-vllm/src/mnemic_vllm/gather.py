"""Moving keys and values inside a paged cache: one gather and one scatter per layer, however many keys move.

Legend: N pages, P slots of a page, H heads, D width of a head, M keys that move.
"""

import torch
from torch import Tensor

__all__ = ["move_slots", "page_axis"]


def page_axis(cache: Tensor, pages: int) -> int:
    """Where a layer's cache counts its pages: 1 in [2, N, P, H, D] (FlashAttention), 0 in [N, 2, P, H, D] (FlashInfer).

    Args:
        pages: N as vLLM's allocator counts them; the cache may cut each into several smaller ones.

    Raises:
        ValueError: the shape is neither, or both.
    """
    shape = tuple(cache.shape)
    fits = [axis for axis in (0, 1) if len(shape) == 5 and shape[1 - axis] == 2 and shape[axis] % pages == 0]
    if len(fits) != 1:
        raise ValueError(f"cannot tell the pages of a cache of shape {shape} with {pages} pages")
    return fits[0]


def move_slots(cache: Tensor, axis: int, sources: Tensor, targets: Tensor) -> None:
    """Copy keys and values from slots to slots, in place; every source is read before any target is written.

    Args:
        cache: [2, N, P, H, D] or [N, 2, P, H, D], of any strides.
        axis: of the pages, see :func:`page_axis`.
        sources, targets: [M], slots counted through the pages; targets are distinct.
    """
    size = cache.shape[2]
    by_page = cache.movedim(axis, 0).transpose(1, 2)  # [N, P, 2, H, D], a view
    source, target = _places(sources, size), _places(targets, size)
    by_page.index_put_(target, by_page[source])


def _places(slots: Tensor, size: int) -> tuple[Tensor, Tensor]:
    return torch.div(slots, size, rounding_mode="floor"), slots % size
