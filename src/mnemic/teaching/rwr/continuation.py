"""What a model allows once it has read something: whether many tokens may follow at once, and where padding may stand.

Facts of transformers 5.23, which a wrong answer here would turn into silent nonsense: the scan of Mamba-1 begins from a
zero state whatever its cache holds, so that only single tokens continue one; Mamba-2 applies `time_step_limit` in the
scan alone; recurrent layers let padding that follows a state decay it.
"""

import inspect
import math
from dataclasses import dataclass, replace
from typing import Any

from transformers.cache_utils import DynamicCache, DynamicLayer, LinearAttentionCacheLayerMixin, LinearAttentionLayer

from mnemic.errors import UsageError
from mnemic.models.config import MnemicConfig

__all__ = ["Continuation", "continuation_of"]

_CONTINUES_EXACTLY = frozenset({"mamba2"})  # recurrent kinds of transformers whose scan starts from the cached state
_ZERO_STAYS_ZERO = frozenset({"mamba", "mamba2", "falcon_mamba"})  # kinds that mask padding in all that they write


@dataclass(frozen=True)
class Continuation:
    """
    Attributes:
        argument: what the model calls its memory.
        takes: names of the arguments of the model's forward.
        steps: after a memory only single tokens are read rightly.
        pads_first: rows of different lengths may be padded on the left where nothing was read before.
        pads_later: the same after something was read.
        holds_keys: padding that was read is still there, and must be masked at every later call.
        merges: memories of different lengths have one shape, so that rows can go on apart and come together again.
        whole: a prompt is read at once and from nothing, since what is kept of it depends on all of it; models say so
            by an attribute `reads_whole`.
    """

    argument: str
    takes: frozenset[str]
    steps: bool
    pads_first: bool
    pads_later: bool
    holds_keys: bool
    merges: bool
    whole: bool = False

    def together(self, lengths: list[int], *, fresh: bool) -> list[list[int]]:
        """Which rows of these lengths may be read in one batch, and decoded so: lists of their indices."""
        if self.pads_first if fresh else self.pads_later or self.merges:
            return [list(range(len(lengths)))] if lengths else []
        groups: dict[int, list[int]] = {}
        for index, length in enumerate(lengths):
            groups.setdefault(length, []).append(index)
        return list(groups.values())


def continuation_of(model: Any) -> Continuation:
    """
    Raises:
        UsageError: a model whose memory cannot be forked, or would be continued wrongly, with the reason.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    found = _by_layers(base)
    if not getattr(base, "reads_whole", False):
        return found
    return replace(found, steps=True, pads_first=False, pads_later=False, merges=False, whole=True)


def _by_layers(base: Any) -> Continuation:
    takes = frozenset(inspect.signature(base.forward).parameters)
    config = base.config
    if isinstance(config, MnemicConfig):
        return Continuation("past_key_values", takes, False, True, True, True, False)
    argument = next((name for name in ("past_key_values", "cache_params") if name in takes), None)
    if argument is None or getattr(config, "is_encoder_decoder", False):
        raise UsageError(f"{type(base).__name__} carries no memory between calls that could be forked")
    config = config.get_text_config(decoder=True)
    limit = getattr(config, "time_step_limit", None)
    if limit is not None and tuple(map(float, limit)) != (0.0, math.inf):
        raise UsageError(
            f"{type(base).__name__} has time_step_limit {tuple(limit)}, which transformers applies when it reads and "
            "forgets when it writes; only (0.0, inf) gives the same state both ways"
        )
    layers = DynamicCache(config=config).layers
    linear = [isinstance(layer, LinearAttentionCacheLayerMixin) for layer in layers]
    if argument == "cache_params" and not (layers and all(linear)):
        raise UsageError(f"{type(base).__name__} keeps its memory in a cache of its own that is not known here")
    if any(linear):
        only = all(type(layer) is LinearAttentionLayer for layer in layers)
        masked = config.model_type in _ZERO_STAYS_ZERO and not getattr(config, "use_bias", False)
        steps = config.model_type not in _CONTINUES_EXACTLY
        return Continuation(argument, takes, steps, masked, False, not only, only)
    # a window of the cache counts padding among its tokens, so that padding inside would push real ones out of it
    growing = all(type(layer) is DynamicLayer for layer in layers)
    return Continuation(argument, takes, False, True, growing, True, False)
