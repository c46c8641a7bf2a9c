"""The attention mask of one call of a model whose cache has holes, in the form that its layers and its kernel take.

Legend: B batch, T tokens of the call, S slots held after it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnemic.errors import UsageError
from mnemic.models.config import MnemicConfig
from mnemic.models.visibility import attention_masks, layer_kinds, masked_by_layer_type
from mnemic.teaching.memento.blocks import NEVER
from mnemic.teaching.memento.cache import EvictingCache

__all__ = ["StepMasks"]

_FLEX = "flex_attention"
_KERNELS = ("sdpa", "eager", _FLEX)


class StepMasks:
    """Masks for one model; none is made where all slots are seen and no row is padded."""

    def __init__(self, model: Any) -> None:
        """Raises: UsageError: an attention implementation that cannot hide single keys."""
        self.config = model.config.get_text_config(decoder=True)
        self.dtype, self.device = model.dtype, model.device
        self.is_host = isinstance(self.config, MnemicConfig)
        if not self.is_host and self.config._attn_implementation not in _KERNELS:
            raise UsageError(
                f"attention implementation '{self.config._attn_implementation}' cannot hide single keys, which a batch "
                f"with evictions needs; load the model with attn_implementation={' or '.join(map(repr, _KERNELS))}"
            )
        self.keeps_last_logits = model._supports_logits_to_keep()
        self.by_layer = masked_by_layer_type(self.config)
        self.is_recurrent = "linear_attention" in layer_kinds(self.config)
        self.is_windowed = "sliding_attention" in layer_kinds(self.config)

    @contextmanager
    def kernel(self) -> Iterator[None]:
        """FlexAttention would compile anew for every length of the cache; SDPA, which computes the same, stands in."""
        if self.is_host or self.config._attn_implementation != _FLEX:
            yield
            return
        self.config._attn_implementation = "sdpa"
        try:
            yield
        finally:
            self.config._attn_implementation = _FLEX

    def prefill(self, until: NDArray[np.int64], real: NDArray[np.bool_]) -> Any:
        """For the first call, [B, T], left-padded; `until` as `visible_until`, in slots."""
        padded = not real.all()
        if not padded and bool((until >= NEVER).all()):
            return None
        # padding sees itself and nothing sees it: a query that saw nothing would come out as NaN and spread
        until = np.where(real, until, np.arange(real.shape[1]) + 1)
        kept = torch.from_numpy(real).to(self.device) if padded else None
        return attention_masks(self.config, torch.from_numpy(until).to(self.device), real=kept)

    def step(self, cache: EvictingCache, real: NDArray[np.bool_]) -> Any:
        """For a later call [B, T], whose tokens the cache expects already."""
        time = real.shape[1]
        padded = self.by_layer and bool((cache.lengths < cache.columns).any())
        # the host would otherwise take what its recurrent layers need, columns, for who sees whom among slots
        needed = cache.has_holes or (self.by_layer and (time > 1 or padded))
        full = self._full(cache, time) if needed else None
        if not self.by_layer:
            return full
        masks: dict[str, Any] = {"full_attention": full}
        if self.is_recurrent or (self.is_windowed and self.is_host):
            masks["linear_attention"] = self._read(cache, cache.columns) if padded and self.is_host else None
        if self.is_windowed and not self.is_host:
            keys = min(cache.columns - time, self.config.sliding_window - 1) + time
            masks["sliding_attention"] = self._form(self._read(cache, keys)[:, None, None]) if padded else None
        return masks

    def _full(self, cache: EvictingCache, time: int) -> Any:
        held = cache.valid[:, None, None, : cache.slots]
        query = np.arange(cache.slots - time, cache.slots)[:, None]
        key = np.arange(cache.slots)[None]
        # a row that is fed nothing sees its own empty slot, so that what it returns is finite
        seen = (held & (key <= query)) | (key == query)
        return self._form(torch.from_numpy(seen).to(self.device))

    def _read(self, cache: EvictingCache, last: int) -> Tensor:
        """[B, last]: whether the row had begun, for the last so many columns; padding stands left of a row."""
        back = np.arange(last - 1, -1, -1)
        return torch.from_numpy(back < cache.lengths[:, None]).to(self.device)

    def _form(self, seen: Tensor) -> Any:
        """A dense mask [B, 1, T, S] as the kernel takes it."""
        if self.is_host or self.config._attn_implementation != "eager":
            return seen
        lowest = torch.finfo(self.dtype).min  # booleans would be added as 0 and 1
        return torch.zeros_like(seen, dtype=self.dtype).masked_fill(~seen, lowest)
