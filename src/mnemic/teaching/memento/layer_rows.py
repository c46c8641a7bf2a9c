"""Rows taken out of a cache's layers and put beside those of another, whatever kind of layer it is.

What continuous batching needs: requests come and go while the others decode.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.cache_utils import DynamicSlidingWindowLayer, LinearAttentionCacheLayerMixin

from mnemic.context.sliding_window import SlidingWindowMemory
from mnemic.errors import UsageError
from mnemic.modules.memory import LayerMemory
from mnemic.teaching.memento.key_room import KeyRoom

__all__ = ["joined_layer", "selected_layer"]

_STATES = ("conv_states", "recurrent_states")


def selected_layer(layer: Any, rows: Tensor) -> Any:
    """A layer of its own with copies of these rows [B'] of the batch; the original stays as it was."""
    chosen = copy(layer)
    if isinstance(layer, LinearAttentionCacheLayerMixin):
        for name, value in vars(layer).items():
            if isinstance(value, dict):
                setattr(chosen, name, dict(value))
        chosen.reorder_cache(rows)
    elif isinstance(layer, LayerMemory) or layer.is_initialized:
        chosen.reorder_cache(rows)
    return chosen


def joined_layer(first: Any, second: Any) -> Any:
    """A layer with the rows of both, the first's before the second's; both were read by the same model.

    Raises:
        UsageError: a kind of layer that this is not written for.
    """
    joined = copy(first)
    if isinstance(first, KeyRoom):
        joined.stack(second)
        if isinstance(first, LayerMemory):
            _join_memory(joined, first, second, [name for name in first.tensors() if name not in ("_keys", "_values")])
    elif isinstance(first, LayerMemory):
        _join_memory(joined, first, second, list(first.tensors()))
    elif isinstance(first, LinearAttentionCacheLayerMixin):
        for name in _STATES:
            mine, theirs = getattr(first, name), getattr(second, name)
            setattr(joined, name, {key: _cat(mine[key], theirs[key]) for key in mine})
    elif isinstance(first, DynamicSlidingWindowLayer):
        joined.keys, joined.values = (_cat_right(x, y, 2) for x, y in _pairs(first, second, ("keys", "values")))
        joined.cumulative_length = max(first.cumulative_length, second.cumulative_length)
    else:
        raise UsageError(f"rows of a cache layer {type(first).__name__} cannot be joined")
    return joined


def _join_memory(joined: LayerMemory, first: LayerMemory, second: LayerMemory, names: Sequence[str]) -> None:
    windowed = isinstance(first, SlidingWindowMemory)
    for name, (mine, theirs) in zip(names, _pairs(first, second, names), strict=True):
        if windowed and name in ("keys", "values"):
            setattr(joined, name, _cat_right(mine, theirs, 2))
        elif windowed and name == "positions":
            setattr(joined, name, _cat_right(mine, theirs, 1, -1))
        else:
            setattr(joined, name, torch.cat([mine, theirs]))
    joined.seen = max(first.seen, second.seen)


def _pairs(first: Any, second: Any, names: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
    return [(getattr(first, name), getattr(second, name)) for name in names]


def _cat(mine: Tensor | None, theirs: Tensor | None) -> Tensor | None:
    return torch.cat([mine, theirs]) if mine is not None and theirs is not None else None


def _cat_right(mine: Tensor, theirs: Tensor, dim: int, value: int = 0) -> Tensor:
    """One batch of both, the shorter filled up on the left of `dim`: windows end together."""
    length = max(mine.shape[dim], theirs.shape[dim])

    def filled(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0) * (x.ndim - 1 - dim) + (length - x.shape[dim], 0), value=value)

    return torch.cat([filled(mine), filled(theirs)])
